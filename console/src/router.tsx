import type { ComponentType } from "react";
import { createBrowserRouter, type RouteObject } from "react-router";
import { Failure, Waiting } from "./components/states";
import { NotFound } from "./pages/not-found";
import { SignedIn, SignedOut } from "./session";

/** A page whose code is fetched when it is first needed. */
function page(path: string, load: () => Promise<{ Page: ComponentType }>): RouteObject {
  return { path, lazy: async () => ({ Component: (await load()).Page }) };
}

/** All pages by their paths. */
export const router = createBrowserRouter([
  {
    HydrateFallback: Waiting,
    ErrorBoundary: () => <Failure error={new Error()} retry={() => window.location.reload()} />,
    children: [
      {
        Component: SignedOut,
        children: [
          page("/sign-in", () => import("./pages/sign-in")),
          page("/sign-up", () => import("./pages/sign-up")),
          page("/forgot-password", () => import("./pages/forgot-password")),
          page("/external-sign-in", () => import("./pages/external-sign-in")),
        ],
      },
      {
        Component: SignedIn,
        children: [
          page("/second-step", () => import("./pages/second-step")),
          page("/finish-setup", () => import("./pages/finish-setup")),
          page("/new-workspace", () => import("./pages/new-workspace")),
          page("/", () => import("./pages/home")),
          page("/account/link", () => import("./pages/account/link")),
          {
            path: "/account",
            lazy: async () => ({ Component: (await import("./pages/account/shell")).Shell }),
            children: [
              page("/account", () => import("./pages/account/profile")),
              page("/account/security", () => import("./pages/account/security")),
              page("/account/sessions", () => import("./pages/account/sessions")),
              page("/account/activity", () => import("./pages/account/activity")),
              page("/account/delete", () => import("./pages/account/delete")),
            ],
          },
          {
            path: "/w/:slug",
            lazy: async () => ({ Component: (await import("./pages/workspace/shell")).Shell }),
            children: [
              { index: true, lazy: async () => ({ Component: (await import("./pages/workspace/overview")).Page }) },
              page("members", () => import("./pages/team/members")),
              page("invitations", () => import("./pages/team/invitations")),
              page("roles", () => import("./pages/team/roles")),
              page("roles/new", () => import("./pages/team/role-editor")),
              page("roles/:role", () => import("./pages/team/role-editor")),
              page("domains", () => import("./pages/team/domains")),
              page("join-requests", () => import("./pages/team/join-requests")),
              page("billing", () => import("./pages/workspace/billing")),
              page("api-keys", () => import("./pages/workspace/api-keys")),
              page("events", () => import("./pages/workspace/events")),
              page("settings", () => import("./pages/workspace/settings")),
            ],
          },
        ],
      },
      { path: "*", Component: NotFound },
    ],
  },
]);
