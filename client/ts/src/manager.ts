import { createClient, type Client } from "@connectrpc/connect";
import {
  AuthenticationService,
  AuthorizationService,
  DomainService,
  EventService,
  InvitationService,
  JoinRequestService,
  MembershipService,
  PasswordService,
  RegistrationService,
  RoleService,
  SessionService,
  TokenService,
  UserService,
  WorkspaceService,
} from "./api.js";
import { transportOf, type ManagerOptions } from "./transport.js";

export type { CookieOptions, ManagerOptions, TokenOptions, TransportOptions } from "./transport.js";

/**
 * Clients of all services. A call takes a message, or the fields of one, and gives a
 * promise of the answer. It is rejected with a `ConnectError`; `reasonOf` says why.
 */
export interface Manager {
  /** Creates a user together with their workspace. */
  readonly registration: Client<typeof RegistrationService>;
  /** Signs in and out. */
  readonly authentication: Client<typeof AuthenticationService>;
  /** Shows the caller's sessions and ends them. */
  readonly sessions: Client<typeof SessionService>;
  /** Changes and resets passwords. */
  readonly passwords: Client<typeof PasswordService>;
  /** Issues tokens by which other services know the caller. */
  readonly tokens: Client<typeof TokenService>;
  /** The caller's own account. */
  readonly users: Client<typeof UserService>;
  /** Creates, changes and deletes workspaces. */
  readonly workspaces: Client<typeof WorkspaceService>;
  /** Proves which domains a workspace controls, and decides who joins by them. */
  readonly domains: Client<typeof DomainService>;
  /** Shows who belongs to a workspace, changes roles, and ends memberships. */
  readonly memberships: Client<typeof MembershipService>;
  /** Invites people to a workspace, by mail and by link, and lets them join. */
  readonly invitations: Client<typeof InvitationService>;
  /** Shows the roles of a workspace and changes its custom ones. */
  readonly roles: Client<typeof RoleService>;
  /** Tells what a user may do in a workspace, and why. */
  readonly authorization: Client<typeof AuthorizationService>;
  /** Lets people ask to join a workspace of their mail address's domain. */
  readonly joinRequests: Client<typeof JoinRequestService>;
  /** Reads the event log. */
  readonly events: Client<typeof EventService>;
}

/**
 * Makes clients of all services of one server. Nothing is sent before the first call.
 *
 * In a browser, let the session travel in a cookie that no script can read:
 *
 * ```ts
 * const manager = createManager({ baseUrl: "https://accounts.example.com", credentials: "cookie" });
 * ```
 *
 * Elsewhere, give the session's token, or a function that returns the present one:
 *
 * ```ts
 * let token: string | undefined;
 * const manager = createManager({ baseUrl: "http://localhost:8080", sessionToken: () => token });
 * token = (await manager.authentication.signInWithPassword({ email, password })).sessionToken;
 * ```
 */
export function createManager(options: ManagerOptions): Manager {
  const transport = transportOf(options);
  return {
    registration: createClient(RegistrationService, transport),
    authentication: createClient(AuthenticationService, transport),
    sessions: createClient(SessionService, transport),
    passwords: createClient(PasswordService, transport),
    tokens: createClient(TokenService, transport),
    users: createClient(UserService, transport),
    workspaces: createClient(WorkspaceService, transport),
    domains: createClient(DomainService, transport),
    memberships: createClient(MembershipService, transport),
    invitations: createClient(InvitationService, transport),
    roles: createClient(RoleService, transport),
    authorization: createClient(AuthorizationService, transport),
    joinRequests: createClient(JoinRequestService, transport),
    events: createClient(EventService, transport),
  };
}
