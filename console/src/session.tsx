import { useQuery } from "@connectrpc/connect-query";
import { createContext, use, useEffect, useRef, type ReactNode } from "react";
import { Navigate, Outlet, useLocation, useNavigate } from "react-router";
import { AccountRequirement, SessionService, type GetSessionResponse } from "@gen/auth/v1/session_pb";
import { queryClient } from "./api";
import { isReason } from "./errors";
import { Failure, Waiting } from "./components/states";
import { person } from "./person";

const Present = createContext<GetSessionResponse | null>(null);

/** The session of who looks at the page, below {@link SignedIn}. */
export function useSession(): GetSessionResponse {
  return use(Present)!;
}

const duties = ["/second-step", "/finish-setup"];

/** Where a person belongs with what their account still needs; undefined for anywhere. */
export function dutyOf(session: GetSessionResponse): string | undefined {
  if (session.requirements.includes(AccountRequirement.SECOND_FACTOR_REQUIRED)) {
    return "/second-step";
  }
  if (session.requirements.includes(AccountRequirement.WORKSPACE_REQUIRED)) {
    return "/finish-setup";
  }
  return undefined;
}

/** Pages for who is signed in: others sign in first, and come back. */
export function SignedIn() {
  return (
    <WithSession>
      {(session, here, ended) => {
        const duty = session && dutyOf(session);
        if (!session) {
          return <Navigate to={`/sign-in?to=${encodeURIComponent(here)}`} state={{ ended }} replace />;
        }
        if (duty && !here.startsWith(duty) && !(duty === "/finish-setup" && here.startsWith("/account"))) {
          return <Navigate to={`${duty}?to=${encodeURIComponent(here)}`} replace />;
        }
        if (!duty && duties.some((path) => here.startsWith(path))) {
          return <Navigate to={wantedIn(here)} replace />;
        }
        return (
          <Present value={session}>
            <Outlet />
          </Present>
        );
      }}
    </WithSession>
  );
}

/** Pages for who is not signed in: others go on to where they wanted to go. */
export function SignedOut() {
  return (
    <WithSession>
      {(session, here) => {
        if (!session) {
          return <Outlet />;
        }
        const [duty, wanted] = [dutyOf(session), wantedIn(here)];
        return <Navigate to={duty === undefined ? wanted : `${duty}?to=${encodeURIComponent(wanted)}`} replace />;
      }}
    </WithSession>
  );
}

/** Asks for the session; `ended` says whether there is none any more. */
function WithSession({ children }: { children: (session: GetSessionResponse | undefined, here: string, ended: boolean) => ReactNode }) {
  const { pathname, search } = useLocation();
  const { data, error, refetch } = useQuery(SessionService.method.getSession, {}, {
    staleTime: 60_000,
    // The page that led here has just found that there is none.
    retryOnMount: ({ state }) => !isReason(state.error, "SESSION_REQUIRED") || Date.now() - state.errorUpdatedAt > 5_000,
  });
  // What was known last counts while it is asked for again, or the forms below would be lost.
  const known = useRef<GetSessionResponse | null>(undefined);
  const id = data?.session?.userId;
  useEffect(() => person.is(id), [id]);
  if (isReason(error, "SESSION_REQUIRED")) {
    known.current = null;
  } else if (data) {
    known.current = data;
  }
  if (person.isAnother(id)) {
    return <Waiting />; // for the page to begin anew
  }
  if (known.current === undefined) {
    return error ? <Failure error={error} retry={() => void refetch()} /> : <Waiting />;
  }
  return children(known.current ?? undefined, pathname + search, known.current === null && data !== undefined);
}

/**
 * Goes into a workspace that the person has just come into, by its path. The page of a duty
 * leads there itself once the session, read anew, says that the duty is done: it would break
 * off whatever else is on its way.
 */
export function useEnter(): (path: string) => Promise<void> {
  const navigate = useNavigate();
  const { pathname } = useLocation();
  return async (path) => {
    await navigate(duties.includes(pathname) ? `${pathname}?to=${encodeURIComponent(path)}` : path, { replace: true, flushSync: true });
    await queryClient.resetQueries();
  };
}

/** The page of this application that `to` in a path names; the root for none. */
export function wantedIn(path: string): string {
  const to = new URL(path, window.location.origin).searchParams.get("to") ?? "/";
  const url = new URL(to, window.location.origin);
  return to.startsWith("/") && url.origin === window.location.origin ? url.pathname.replace(/^\/+/, "/") + url.search + url.hash : "/";
}
