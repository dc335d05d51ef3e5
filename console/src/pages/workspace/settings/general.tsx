import { useQuery } from "@connectrpc/connect-query";
import { Alert, Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useEffect } from "react";
import { WorkspaceService } from "@gen/tenant/v1/workspace_pb";
import { queryClient } from "../../../api";
import { useForm } from "../../../components/form";
import { Section } from "../../../components/section";
import { tell } from "../../../components/toasts";
import { day } from "../../../format";
import { fill, texts as all } from "../../../texts";
import { settingsTexts as texts } from "../../../texts/settings";
import { useWorkspace } from "../../../workspace";

/** Name and address of the workspace: the page's own address follows. */
export function General() {
  const { workspace } = useWorkspace();
  const { id, name, slug, etag, createTime } = workspace;
  const form = useForm(
    WorkspaceService.method.updateWorkspace,
    { workspaceId: id, name, slug, updateMask: { paths: ["name", "slug"] }, etag },
    async ({ workspace }) => {
      form.set({ name: workspace!.name, slug: workspace!.slug, etag: workspace!.etag });
      await queryClient.invalidateQueries(); // Until then, the change is another one than what was read.
      tell(all.common.saved);
    },
  );
  const failed = Boolean(form.failure);
  useEffect(() => {
    if (failed) {
      void queryClient.invalidateQueries(); // Somebody else may have changed it.
    }
  }, [failed]);
  const changed = etag !== form.values.etag && !form.pending;
  const wanted = (form.values.slug ?? "").trim();
  return (
    <Section title={texts.general}>
      <form onSubmit={(event) => void form.submit(event)} noValidate>
        <Stack maw={480}>
          <TextInput label={texts.name} autoComplete="off" {...form.field("name")} />
          <div>
            <TextInput
              label={texts.slug}
              description={fill(texts.slugHint, { url: `${window.location.origin}/w/${wanted}` })}
              autoComplete="off"
              spellCheck={false}
              {...form.field("slug")}
            />
            {wanted !== slug && <Availability slug={wanted} />}
          </div>
          {form.failure}
          {changed && (
            <Alert variant="light" color="orange" role="status">
              <Text size="sm" mb="xs">
                {fill(texts.changed, { name, slug })}
              </Text>
              <Button size="xs" variant="default" onClick={() => form.set({ name, slug, etag })}>
                {texts.takeOver}
              </Button>
            </Alert>
          )}
          <Group>
            <Button type="submit" loading={form.pending} disabled={form.values.name === name && form.values.slug === slug}>
              {all.common.save}
            </Button>
          </Group>
          <Text size="xs" c="dimmed">
            {createTime && fill(texts.created, { time: day(createTime) })} · {texts.id}: {id}
          </Text>
        </Stack>
      </form>
    </Section>
  );
}

/** Tells while it is typed whether an address can be had. */
function Availability({ slug }: { slug: string }) {
  const [settled] = useDebouncedValue(slug, 300);
  const { data } = useQuery(WorkspaceService.method.checkSlugAvailability, { slug: settled }, { enabled: settled.length > 1, retry: false });
  if (!data || settled !== slug) {
    return null;
  }
  return (
    <Text size="xs" mt={4} role="status">
      {data.available ? `${texts.slugFree} ${texts.slugChanges}` : fill(texts.slugTaken, { suggestion: data.suggestion })}
    </Text>
  );
}
