import { createClient, type Client, type Transport } from "@connectrpc/connect";
import {
  ApiKeyService,
  AuthenticationService,
  AuthorizationService,
  DomainService,
  EmailChallengeService,
  EntitlementService,
  EventService,
  ExternalIdentityService,
  InvitationService,
  InvoiceService,
  JoinRequestService,
  MembershipService,
  MfaService,
  OperatorService,
  PasskeyService,
  PasswordService,
  PlanService,
  ReconciliationService,
  RegistrationService,
  RoleService,
  SeatService,
  SecurityService,
  ServiceAccountService,
  SessionService,
  SubscriptionService,
  TestClockService,
  TokenService,
  UsageService,
  UserService,
  WorkspaceService,
} from "./api.js";
import { createRefreshingTokenSource, type RefreshingTokenSource, type RefreshOptions } from "./token-source.js";
import { transportOf, type ManagerOptions, type TokenOptions } from "./transport.js";

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
  /** Signs in by a code or link that is mailed. */
  readonly emailChallenges: Client<typeof EmailChallengeService>;
  /** Asks for a second factor at sign-in; authenticator apps and recovery codes. */
  readonly secondFactors: Client<typeof MfaService>;
  /** The caller's passkeys. In a browser, the functions `passkeys` do what needs the browser. */
  readonly passkeys: Client<typeof PasskeyService>;
  /** Signs in by identity providers, and links them to the account. */
  readonly externalIdentities: Client<typeof ExternalIdentityService>;
  /** Issues, checks and revokes tokens by which other services know the caller. */
  readonly tokens: Client<typeof TokenService>;
  /** API keys of a workspace, by which programs call. */
  readonly apiKeys: Client<typeof ApiKeyService>;
  /** Service accounts of a workspace: who programs are. */
  readonly serviceAccounts: Client<typeof ServiceAccountService>;
  /** Shows how the caller's account is protected, and what happened to it. */
  readonly security: Client<typeof SecurityService>;
  /**
   * For operators of the server: finds accounts and helps their owners. `importUsers` is
   * a stream to the server, which needs a transport of `@connectrpc/connect-node`.
   */
  readonly operators: Client<typeof OperatorService>;
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
  /** Lets people ask to join a workspace of their e-mail address's domain. */
  readonly joinRequests: Client<typeof JoinRequestService>;
  /** Shows the plans that are offered. */
  readonly plans: Client<typeof PlanService>;
  /** Shows what a workspace is subscribed to. */
  readonly subscriptions: Client<typeof SubscriptionService>;
  /** Shows the seats of a workspace. */
  readonly seats: Client<typeof SeatService>;
  /** Tells what a workspace may use. */
  readonly entitlements: Client<typeof EntitlementService>;
  /** Moves the time of a server that is being tried out. */
  readonly testClock: Client<typeof TestClockService>;
  /** Shows what a workspace owes and has paid. */
  readonly invoices: Client<typeof InvoiceService>;
  /** Records what a workspace uses, and tells it. */
  readonly usage: Client<typeof UsageService>;
  /** For operators: compares a subscription with the payment provider's. */
  readonly reconciliations: Client<typeof ReconciliationService>;
  /** Reads the event log. */
  readonly events: Client<typeof EventService>;
}

/** A manager that also gives access tokens. */
export interface RefreshingManager extends Manager {
  /**
   * Gives access tokens for services of one's own, a new one when the last one is about to
   * expire, by one refresh for all who need it. `authorizedFetch` of
   * `@logicspike/manager/token` sends them.
   */
  readonly accessTokens: RefreshingTokenSource;
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
 *
 * A program without a user gives an API key in the same place:
 *
 * ```ts
 * const manager = createManager({ baseUrl, sessionToken: process.env["MANAGER_API_KEY"] });
 * ```
 *
 * Calls that are safe to repeat are, when the server cannot serve them for the moment or
 * their answer is lost: {@link repeating} says which and when.
 */
export function createManager(options: TokenOptions & { refresh: RefreshOptions }): RefreshingManager;
export function createManager(options: ManagerOptions): Manager;
export function createManager(options: ManagerOptions): Manager | RefreshingManager {
  const manager = clientsOf(transportOf(options));
  return options.refresh ? { ...manager, accessTokens: createRefreshingTokenSource(manager, options.refresh) } : manager;
}

function clientsOf(transport: Transport): Manager {
  return {
    registration: createClient(RegistrationService, transport),
    authentication: createClient(AuthenticationService, transport),
    sessions: createClient(SessionService, transport),
    passwords: createClient(PasswordService, transport),
    emailChallenges: createClient(EmailChallengeService, transport),
    secondFactors: createClient(MfaService, transport),
    passkeys: createClient(PasskeyService, transport),
    externalIdentities: createClient(ExternalIdentityService, transport),
    tokens: createClient(TokenService, transport),
    apiKeys: createClient(ApiKeyService, transport),
    serviceAccounts: createClient(ServiceAccountService, transport),
    security: createClient(SecurityService, transport),
    operators: createClient(OperatorService, transport),
    users: createClient(UserService, transport),
    workspaces: createClient(WorkspaceService, transport),
    domains: createClient(DomainService, transport),
    memberships: createClient(MembershipService, transport),
    invitations: createClient(InvitationService, transport),
    roles: createClient(RoleService, transport),
    authorization: createClient(AuthorizationService, transport),
    joinRequests: createClient(JoinRequestService, transport),
    plans: createClient(PlanService, transport),
    subscriptions: createClient(SubscriptionService, transport),
    seats: createClient(SeatService, transport),
    entitlements: createClient(EntitlementService, transport),
    testClock: createClient(TestClockService, transport),
    invoices: createClient(InvoiceService, transport),
    usage: createClient(UsageService, transport),
    reconciliations: createClient(ReconciliationService, transport),
    events: createClient(EventService, transport),
  };
}
