import "@mantine/core/styles/Badge.css";
import { useInfiniteQuery, useMutation } from "@connectrpc/connect-query";
import { Badge, Button, Paper } from "@mantine/core";
import { IconDeviceDesktop, IconDeviceMobile, IconTerminal2 } from "@tabler/icons-react";
import { useState } from "react";
import { SessionService, type Session } from "@gen/auth/v1/session_pb";
import { Confirm } from "../../components/confirm";
import { More } from "../../components/more";
import { Failure, Waiting } from "../../components/states";
import { ago, day } from "../../components/time";
import { tell } from "../../components/toasts";
import { fill } from "../../texts";
import { accountTexts } from "../../texts/account";
import { clientOf } from "../../user-agent";
import { clientName } from "./client-name";
import { Item, Items } from "./item";
import { AccountPage } from "./page";

const texts = accountTexts.sessions;

/** The sessions of the person, and their ends. */
export function Page() {
  const query = useInfiniteQuery(
    SessionService.method.listSessions,
    { pageSize: 50, pageToken: "" },
    { pageParamKey: "pageToken", getNextPageParam: ({ nextPageToken }) => nextPageToken || undefined },
  );
  const end = useMutation(SessionService.method.revokeSession);
  const endOthers = useMutation(SessionService.method.revokeOtherSessions);
  const [ending, setEnding] = useState<Session>();
  const [endingOthers, setEndingOthers] = useState(false);
  const sessions = query.data?.pages.flatMap(({ sessions }) => sessions);
  return (
    <AccountPage
      title={texts.title}
      text={texts.text}
      actions={
        sessions !== undefined &&
        sessions.length > 1 && (
          <Button variant="default" onClick={() => setEndingOthers(true)}>
            {texts.endOthers}
          </Button>
        )
      }
    >
      {query.error && !sessions ? (
        <Failure error={query.error} retry={() => void query.refetch()} />
      ) : !sessions ? (
        <Waiting />
      ) : (
        <Paper withBorder p="lg">
          <Items label={texts.title}>
            {[...sessions]
              .sort((one, other) => Number(other.current) - Number(one.current))
              .map((session) => (
                <One key={session.id} session={session} end={() => setEnding(session)} />
              ))}
          </Items>
          <More query={query} />
        </Paper>
      )}
      {ending && (
        <Confirm
          title={texts.endTitle}
          action={texts.end}
          act={() => end.mutateAsync({ sessionId: ending.id }).then(() => tell(texts.ended))}
          close={() => setEnding(undefined)}
        >
          {fill(texts.endText, { name: clientName(ending.userAgent) })}
        </Confirm>
      )}
      {endingOthers && (
        <Confirm
          title={texts.endOthersTitle}
          action={texts.endOthers}
          act={() => endOthers.mutateAsync({}).then(({ revokedCount }) => tell(fill(texts.othersEnded, { count: revokedCount })))}
          close={() => setEndingOthers(false)}
        >
          {texts.endOthersText}
        </Confirm>
      )}
    </AccountPage>
  );
}

function One({ session, end }: { session: Session; end: () => void }) {
  const { browser, mobile } = clientOf(session.userAgent);
  return (
    <Item
      icon={browser === undefined ? IconTerminal2 : mobile ? IconDeviceMobile : IconDeviceDesktop}
      name={clientName(session.userAgent)}
      badge={session.current && <Badge variant="light" tt="none">{texts.here}</Badge>}
      about={[
        session.impersonatorUserId === "" ? undefined : texts.operator,
        session.clientAddress,
        session.lastUseTime && fill(texts.active, { time: ago(session.lastUseTime) }),
        session.createTime && fill(texts.since, { time: day(session.createTime) }),
      ]}
    >
      {!session.current && (
        <Button variant="default" size="xs" onClick={end}>
          {texts.end}
        </Button>
      )}
    </Item>
  );
}
