import { ActionIcon, Group, Stack, Text, TextInput } from "@mantine/core";
import { IconPencil, IconTrash, type Icon } from "@tabler/icons-react";
import type { FormEvent, ReactNode } from "react";
import { FormDialog } from "../../components/form-dialog";
import { fill, texts as common } from "../../texts";
import { accountTexts } from "../../texts/account";

const texts = accountTexts.security;

/** A list of {@link Item}s. */
export function Items({ label, children }: { label: string; children: ReactNode }) {
  return (
    <Stack component="ul" gap="md" p={0} m={0} aria-label={label} style={{ listStyle: "none" }}>
      {children}
    </Stack>
  );
}

/** One of several things of an account, with what can be done with it. */
export function Item({ icon: Icon, name, badge, about, children }: { icon: Icon; name: string; badge?: ReactNode; about: (string | undefined)[]; children?: ReactNode }) {
  return (
    <Group component="li" wrap="nowrap" gap="sm" align="flex-start">
      <Icon size={22} stroke={1.5} aria-hidden style={{ flexShrink: 0, marginTop: 2 }} />
      <div style={{ flexGrow: 1, minWidth: 0 }}>
        <Group gap="xs">
          <Text fw={500} style={{ overflowWrap: "anywhere" }}>
            {name}
          </Text>
          {badge}
        </Group>
        <Text size="sm" c="dimmed" style={{ overflowWrap: "anywhere" }}>
          {about.filter((part) => part !== undefined && part !== "").join(" · ")}
        </Text>
      </div>
      <Group gap={4} wrap="nowrap">
        {children}
      </Group>
    </Group>
  );
}

/** The buttons of an item that can be renamed and deleted. */
export function ItemButtons({ name, rename, remove }: { name: string; rename: () => void; remove: () => void }) {
  return (
    <>
      <ActionIcon variant="subtle" color="gray" size="lg" aria-label={fill(texts.actions, { action: texts.rename, name })} onClick={rename}>
        <IconPencil size={18} aria-hidden />
      </ActionIcon>
      <ActionIcon variant="subtle" color="gray" size="lg" aria-label={fill(texts.actions, { action: texts.delete, name })} onClick={remove}>
        <IconTrash size={18} aria-hidden />
      </ActionIcon>
    </>
  );
}

/** Gives a thing another name. */
export function RenameDialog({
  form,
  close,
}: {
  form: {
    field(name: "displayName"): { name: string; value: string; onChange: (event: { currentTarget: { value: string } }) => void; error?: string };
    submit(event: FormEvent): Promise<void>;
    pending: boolean;
    failure: ReactNode;
  };
  close: () => void;
}) {
  return (
    <FormDialog title={texts.rename} form={form} action={common.common.save} close={close}>
      <TextInput label={texts.newName} autoComplete="off" data-autofocus {...form.field("displayName")} />
    </FormDialog>
  );
}
