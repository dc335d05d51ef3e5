import "./frame-styles";
import { useQuery } from "@connectrpc/connect-query";
import { ActionIcon, AppShell, Burger, Button, Group, Menu, ScrollArea, Text, useComputedColorScheme, useMantineColorScheme } from "@mantine/core";
import { useDisclosure, useFocusWithin } from "@mantine/hooks";
import { IconLogout, IconMoon, IconSun, IconUser, IconUserCog } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { Link, Outlet } from "react-router";
import { UserService } from "@gen/identity/v1/user_pb";
import { product } from "../product";
import { signOut } from "../sign-out";
import { texts } from "../texts";
import { frameTexts } from "../texts/frame";

/** What stands around pages: a header with the person's menu, and the entries that lead to the pages. */
export function Frame({ left, label, entries }: { left: ReactNode; label: string; entries: ReactNode }) {
  const [opened, { toggle, close }] = useDisclosure();
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme("light") === "dark";
  return (
    <AppShell transitionDuration={0} header={{ height: 56 }} navbar={{ width: 240, breakpoint: "sm", collapsed: { mobile: !opened } }} padding="md">
      <AppShell.Header>
        <SkipLink />
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="xs" wrap="nowrap">
            <Burger opened={opened} onClick={toggle} hiddenFrom="sm" size="sm" aria-label={frameTexts.menu} />
            {product !== "" && (
              <Text fw={700} visibleFrom="sm" truncate maw={220} title={product}>
                {product}
              </Text>
            )}
            {left}
          </Group>
          <Group gap="xs" wrap="nowrap">
            <ActionIcon variant="subtle" color="gray" size="lg" aria-label={frameTexts.theme} onClick={() => setColorScheme(dark ? "light" : "dark")}>
              {dark ? <IconSun size={18} aria-hidden /> : <IconMoon size={18} aria-hidden />}
            </ActionIcon>
            <PersonMenu />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" aria-label={label}>
        {product !== "" && (
          <Text fw={700} hiddenFrom="sm" p="xs" style={{ overflowWrap: "anywhere" }}>
            {product}
          </Text>
        )}
        <AppShell.Section grow component={ScrollArea} onClick={close}>
          {entries}
        </AppShell.Section>
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1} style={{ outline: "none" }}>
        <Outlet />
      </AppShell.Main>
    </AppShell>
  );
}

/** Leads past the entries; it is seen while it has the focus. */
function SkipLink() {
  const { ref, focused } = useFocusWithin();
  return (
    <div ref={ref} style={{ position: "absolute", zIndex: 1, top: focused ? 8 : -100, left: 8 }}>
      <Button component="a" href="#content" size="xs">
        {frameTexts.skip}
      </Button>
    </div>
  );
}

function PersonMenu() {
  const me = useQuery(UserService.method.getMe, {});
  return (
    <Menu shadow="md" width={240}>
      <Menu.Target>
        <ActionIcon variant="subtle" radius="xl" size="lg" aria-label={frameTexts.account}>
          <IconUser size={18} aria-hidden />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label style={{ overflowWrap: "anywhere" }}>{me.data?.user?.email}</Menu.Label>
        <Menu.Item component={Link} to="/account" leftSection={<IconUserCog size={16} aria-hidden />}>
          {frameTexts.manageAccount}
        </Menu.Item>
        <Menu.Item
          leftSection={<IconLogout size={16} aria-hidden />}
          onClick={() => void signOut()}
        >
          {texts.common.signOut}
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
