import { useMutation, useQuery } from "@connectrpc/connect-query";
import { Button, Group, Text } from "@mantine/core";
import { IconLink } from "@tabler/icons-react";
import { useState } from "react";
import { ExternalIdentityService, ExternalSignInPurpose, type ExternalIdentity } from "@gen/auth/v1/external_identity_pb";
import { Confirm } from "../../components/confirm";
import { Section } from "../../components/section";
import { Failure, Waiting } from "../../components/states";
import { ago, day } from "../../components/time";
import { tell, tellFailure } from "../../components/toasts";
import { guarded } from "../../reauthentication";
import { fill } from "../../texts";
import { accountTexts } from "../../texts/account";
import { Item, Items } from "./item";

const texts = accountTexts.identities;

/** The accounts elsewhere that sign the person in; nothing where there is no provider of any. */
export function Identities() {
  const linked = useQuery(ExternalIdentityService.method.listExternalIdentities, {});
  const providers = useQuery(ExternalIdentityService.method.listIdentityProviders, {});
  const start = useMutation(ExternalIdentityService.method.startExternalSignIn);
  const remove = useMutation(ExternalIdentityService.method.deleteExternalIdentity);
  const [deleting, setDeleting] = useState<ExternalIdentity>();
  const failed = [linked, providers].find(({ data, error }) => !data && error);
  if (!failed && (!linked.data || !providers.data)) {
    return <Waiting />;
  }
  const identities = linked.data?.externalIdentities ?? [];
  const known = providers.data?.identityProviders ?? [];
  if (!failed && identities.length === 0 && known.length === 0) {
    return null;
  }
  const nameOf = ({ provider, email }: ExternalIdentity) =>
    [known.find(({ name }) => name === provider)?.displayName ?? provider, email].filter((part) => part !== "").join(": ");
  const link = async (provider: string) => {
    const { authorizationUrl } = await start.mutateAsync({
      provider,
      purpose: ExternalSignInPurpose.LINK,
      returnUrl: "/account/link",
    });
    window.location.assign(authorizationUrl);
  };
  return (
    <Section title={texts.title}>
      <Text size="sm" c="dimmed" mb="md">
        {texts.text}
      </Text>
      {failed ? (
        <Failure error={failed.error} retry={() => void failed.refetch()} />
      ) : identities.length === 0 ? (
        <Text size="sm">{texts.none}</Text>
      ) : (
        <Items label={texts.title}>
          {identities.map((identity) => (
            <Item
              key={identity.id}
              icon={IconLink}
              name={nameOf(identity)}
              about={[
                identity.createTime && fill(accountTexts.security.added, { time: day(identity.createTime) }),
                identity.lastUseTime && fill(accountTexts.security.used, { time: ago(identity.lastUseTime) }),
              ]}
            >
              <Button variant="default" size="xs" onClick={() => setDeleting(identity)}>
                {texts.unlink}
              </Button>
            </Item>
          ))}
        </Items>
      )}
      {known.length > 0 && (
        <Group gap="xs" mt="md">
          {known.map(({ name, displayName }) => (
            <Button key={name} variant="default" onClick={() => void guarded(() => link(name)).catch(tellFailure)}>
              {fill(texts.link, { name: displayName })}
            </Button>
          ))}
        </Group>
      )}
      {deleting && (
        <Confirm
          title={texts.unlinkTitle}
          action={texts.unlink}
          act={() => remove.mutateAsync({ externalIdentityId: deleting.id }).then(() => tell(texts.unlinked))}
          close={() => setDeleting(undefined)}
        >
          <Text size="sm">{fill(texts.unlinkText, { name: nameOf(deleting) })}</Text>
        </Confirm>
      )}
    </Section>
  );
}
