import { Button, NavLink } from "@mantine/core";
import { IconArrowLeft, IconDevices, IconHistory, IconShieldLock, IconTrash, IconUser } from "@tabler/icons-react";
import { Link, NavLink as RouterLink } from "react-router";
import { Frame } from "../../components/frame";
import { accountTexts as texts } from "../../texts/account";

/** The pages of a person's own account. */
export function Shell() {
  return (
    <Frame
      left={
        <Button component={Link} to="/" variant="subtle" color="gray" px="xs" leftSection={<IconArrowLeft size={16} aria-hidden />}>
          {texts.back}
        </Button>
      }
      label={texts.title}
      entries={<Entries />}
    />
  );
}

function Entries() {
  const entries = [
    { to: "/account", label: texts.profile.title, icon: IconUser },
    { to: "/account/security", label: texts.security.title, icon: IconShieldLock },
    { to: "/account/sessions", label: texts.sessions.title, icon: IconDevices },
    { to: "/account/activity", label: texts.activity.title, icon: IconHistory },
    { to: "/account/delete", label: texts.deletion.title, icon: IconTrash },
  ];
  return entries.map(({ to, label, icon: Icon }) => (
    <NavLink key={to} component={RouterLink} to={to} end label={label} leftSection={<Icon size={18} aria-hidden />} />
  ));
}
