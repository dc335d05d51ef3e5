// The generated messages, enums and services of the API. This is the only file that
// knows where they are.
export * from "../../../gen/ts/logicspike/audit/v1/event_pb.js";
export * from "../../../gen/ts/logicspike/auth/v1/api_key_pb.js";
export * from "../../../gen/ts/logicspike/auth/v1/authentication_pb.js";
export * from "../../../gen/ts/logicspike/auth/v1/email_challenge_pb.js";
export * from "../../../gen/ts/logicspike/auth/v1/external_identity_pb.js";
export * from "../../../gen/ts/logicspike/auth/v1/mfa_pb.js";
export * from "../../../gen/ts/logicspike/auth/v1/operator_pb.js";
export * from "../../../gen/ts/logicspike/auth/v1/passkey_pb.js";
export * from "../../../gen/ts/logicspike/auth/v1/password_pb.js";
export * from "../../../gen/ts/logicspike/auth/v1/registration_pb.js";
export * from "../../../gen/ts/logicspike/auth/v1/security_pb.js";
export * from "../../../gen/ts/logicspike/auth/v1/session_pb.js";
export * from "../../../gen/ts/logicspike/auth/v1/token_pb.js";
export * from "../../../gen/ts/logicspike/fault/v1/reason_pb.js";
export * from "../../../gen/ts/logicspike/identity/v1/user_pb.js";
export * from "../../../gen/ts/logicspike/team/v1/authorization_pb.js";
export * from "../../../gen/ts/logicspike/team/v1/invitation_pb.js";
export * from "../../../gen/ts/logicspike/team/v1/join_request_pb.js";
export * from "../../../gen/ts/logicspike/team/v1/membership_pb.js";
export * from "../../../gen/ts/logicspike/team/v1/role_pb.js";
export * from "../../../gen/ts/logicspike/tenant/v1/domain_pb.js";
export * from "../../../gen/ts/logicspike/tenant/v1/workspace_pb.js";
