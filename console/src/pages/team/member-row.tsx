import { useMutation } from "@connectrpc/connect-query";
import { Menu } from "@mantine/core";
import { IconDots } from "@tabler/icons-react";
import { memo, useRef, useState } from "react";
import { MembershipService, MembershipState, type Membership } from "@gen/team/v1/membership_pb";
import { call } from "../../api";
import { day } from "../../components/time";
import { tell, tellFailure } from "../../components/toasts";
import { isReason } from "../../errors";
import { guarded } from "../../reauthentication";
import type { Roles } from "../../roles";
import { fill } from "../../texts";
import { teamTexts } from "../../texts/team";
import { useWorkspace } from "../../workspace";
import { nameOf, putMember, readMembers, type Asked } from "./member-questions";
import styles from "./member-row.module.css";

/** How high a row is, whatever is in it. */
export const rowHeight = 60;

/** One member, with what the person may do about them. */
export const MemberRow = memo(function MemberRow({
  member,
  index,
  self,
  roles,
  ask,
}: {
  member: Membership;
  index: number;
  self: boolean;
  roles: Roles;
  ask: (what: Asked["what"], member: Membership) => void;
}) {
  const { workspace, may } = useWorkspace();
  const deactivated = member.state === MembershipState.DEACTIVATED;
  const changeable = roles.mayGive(member.role) && !self;
  const offered: Offered[] = [
    ...(self ? (["leave"] as const) : []),
    ...(may("workspace.transfer") && !self && !deactivated ? (["transfer"] as const) : []),
    ...(may("membership.update") && changeable ? ([deactivated ? "reactivate" : "deactivate"] as const) : []),
    ...(may("membership.remove") && changeable ? (["remove"] as const) : []),
  ];
  const name = nameOf(member);
  return (
    <tr style={{ height: rowHeight }} aria-rowindex={index + 2}>
      <td className={styles.cell}>
        <div className={styles.member}>
          <span className={styles.avatar} aria-hidden>
            {initialsOf(name)}
          </span>
          <div className={styles.who}>
            <div className={styles.name}>
              <span>{name}</span>
              {self && <span className={styles.badge}>{teamTexts.members.you}</span>}
              {deactivated && <span className={styles.badge}>{teamTexts.members.deactivated}</span>}
              {workspace.secondFactorRequired && member.hasSecondFactor === false && <span className={styles.badge}>{teamTexts.members.noSecondFactor}</span>}
            </div>
            <div className={styles.email}>{member.email}</div>
          </div>
        </div>
      </td>
      <td className={styles.joined}>{day(member.createTime!)}</td>
      <td className={styles.cell}>{may("membership.update") && changeable ? <RoleOf member={member} roles={roles} /> : roles.nameOf(member.role)}</td>
      <td className={styles.cell}>{offered.length > 0 && <Actions member={member} offered={offered} ask={ask} />}</td>
    </tr>
  );
});

/** The first letters of the first and the last word of a name. */
function initialsOf(name: string): string {
  const words = name.split(/\s+/);
  return [...new Set([words[0], words.at(-1)])].map((word) => [...(word ?? "")][0]?.toUpperCase()).join("");
}

/** The role of a member, to be changed: the new one is shown at once, and the one before again if the server refuses. */
function RoleOf({ member, roles }: { member: Membership; roles: Roles }) {
  const [wanted, setWanted] = useState<string>();
  const name = nameOf(member);
  const change = async (role: string) => {
    setWanted(role);
    try {
      const { membership } = await guarded(() =>
        call(MembershipService.method.updateMembership, { workspaceId: member.workspaceId, membershipId: member.id, role, etag: member.etag }),
      );
      await putMember(membership!);
      tell(fill(teamTexts.members.roleChanged, { name, role: roles.nameOf(role) }));
    } catch (error) {
      tellFailure(error);
      if (isReason(error, "ETAG_MISMATCH")) {
        await readMembers();
      }
    } finally {
      setWanted(undefined);
    }
  };
  return (
    <select
      className={styles.role}
      aria-label={fill(teamTexts.members.roleOf, { name })}
      value={wanted ?? member.role}
      disabled={wanted !== undefined}
      onChange={({ currentTarget }) => void change(currentTarget.value)}
    >
      {roles.ids
        .filter((id) => roles.mayGive(id))
        .map((id) => (
          <option key={id} value={id}>
            {roles.nameOf(id)}
          </option>
        ))}
    </select>
  );
}

type Offered = Asked["what"] | "reactivate";

/** A button that opens a menu, which is made when it is first wanted. */
function Actions({ member, offered, ask }: { member: Membership; offered: Offered[]; ask: (what: Asked["what"], member: Membership) => void }) {
  const [wanted, want] = useState(false);
  const ref = useRef<HTMLButtonElement>(null);
  const label = fill(teamTexts.members.actionsFor, { name: nameOf(member) });
  const dots = <IconDots size={18} aria-hidden />;
  if (!wanted) {
    return (
      <button type="button" className={styles.actions} aria-label={label} aria-haspopup="menu" onClick={() => want(true)}>
        {dots}
      </button>
    );
  }
  // The button that had the focus is gone, so that it has to be given to this one.
  return (
    <Menu shadow="md" position="bottom-end" defaultOpened returnFocus={false} onClose={() => ref.current?.focus()}>
      <Menu.Target>
        <button type="button" className={styles.actions} aria-label={label} ref={ref}>
          {dots}
        </button>
      </Menu.Target>
      <Menu.Dropdown>
        {offered.map((what) =>
          what === "reactivate" ? (
            <Reactivate key={what} member={member} />
          ) : (
            <Menu.Item key={what} {...(what !== "transfer" && { color: "red" })} onClick={() => ask(what, member)}>
              {teamTexts.members[what]}
            </Menu.Item>
          ),
        )}
      </Menu.Dropdown>
    </Menu>
  );
}

function Reactivate({ member }: { member: Membership }) {
  const { mutateAsync } = useMutation(MembershipService.method.reactivateMembership, { onSuccess: ({ membership }) => putMember(membership!) });
  const reactivate = () =>
    void mutateAsync({ workspaceId: member.workspaceId, membershipId: member.id }).then(
      () => tell(fill(teamTexts.members.isReactivated, { name: nameOf(member) })),
      tellFailure,
    );
  return <Menu.Item onClick={reactivate}>{teamTexts.members.reactivate}</Menu.Item>;
}
