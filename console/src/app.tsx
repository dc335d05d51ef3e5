import { TransportProvider } from "@connectrpc/connect-query";
import { createTheme, MantineProvider } from "@mantine/core";
import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "react-router";
import { queryClient, transport } from "./api";
import { Toasts } from "./components/toasts";
import { router } from "./router";

const theme = createTheme({ primaryColor: "indigo", defaultRadius: "md", cursorType: "pointer", respectReducedMotion: true });

/** The application, with what all pages share. */
export function App() {
  return (
    <MantineProvider theme={theme} defaultColorScheme="auto">
      <Toasts />
      <TransportProvider transport={transport}>
        <QueryClientProvider client={queryClient}>
          <RouterProvider router={router} />
        </QueryClientProvider>
      </TransportProvider>
    </MantineProvider>
  );
}
