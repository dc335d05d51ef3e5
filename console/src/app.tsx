import { TransportProvider } from "@connectrpc/connect-query";
import { createTheme, MantineProvider, type CSSVariablesResolver } from "@mantine/core";
import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "react-router/dom";
import { queryClient, transport } from "./api";
import { Captcha } from "./captcha";
import { Toasts } from "./components/toasts";
import { Reauthentication } from "./reauthentication";
import { router } from "./router";
import { texts as catalogue } from "./texts";

const theme = createTheme({
  primaryColor: "indigo",
  primaryShade: 7,
  defaultRadius: "md",
  cursorType: "pointer",
  respectReducedMotion: true,
  components: { PasswordInput: { defaultProps: { visibilityToggleButtonProps: { "aria-label": catalogue.common.showPassword } } } },
});

// Texts that stand out enough to be read (WCAG 2, AA), where Mantine's own do not.
const colors: CSSVariablesResolver = ({ colors }) => {
  const texts = (dimmed: string, shade: 2 | 9) => ({
    "--mantine-color-dimmed": dimmed,
    "--mantine-color-placeholder": dimmed,
    "--mantine-color-error": colors.red[shade],
    "--mantine-color-red-filled": colors.red[9],
    "--mantine-color-red-filled-hover": colors.red[9],
    "--mantine-color-red-light-color": colors.red[shade],
    "--mantine-color-anchor": colors.indigo[shade],
    "--mantine-color-indigo-light-color": colors.indigo[shade],
    "--mantine-primary-color-light-color": colors.indigo[shade],
    "--mantine-primary-color-light-hover": "var(--mantine-primary-color-light)",
    "--mantine-color-red-light-hover": "var(--mantine-color-red-light)",
    "--mantine-color-indigo-light-hover": "var(--mantine-color-indigo-light)",
  });
  return { variables: {}, light: texts(colors.gray[7], 9), dark: texts(colors.dark[1], 2) };
};

/** The application, with what all pages share. */
export function App() {
  return (
    <MantineProvider theme={theme} cssVariablesResolver={colors} defaultColorScheme="auto">
      <Toasts />
      <TransportProvider transport={transport}>
        <QueryClientProvider client={queryClient}>
          <RouterProvider router={router} />
          <Reauthentication />
          <Captcha />
        </QueryClientProvider>
      </TransportProvider>
    </MantineProvider>
  );
}
