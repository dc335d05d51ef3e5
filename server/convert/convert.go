// Package convert writes what the store returns as messages of the API, and reads
// what requests have in common. It holds the conversions that several modules need.
package convert

import (
	"strconv"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/identity"
	"github.com/logicspike/manager/store/team"
	"github.com/logicspike/manager/store/tenant"
)

// Time returns a timestamp, or nil for the zero time.
func Time(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// ETag returns the etag of a version.
func ETag(version int64) string { return "v" + strconv.FormatInt(version, 10) }

// Version returns the version of an etag, and 0 for "".
//
// Errors: fault ETAG_MISMATCH for an etag that no version has.
func Version(etag string) (int64, error) {
	if etag == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(etag[1:], 10, 64)
	if err != nil || n < 1 || ETag(n) != etag {
		return 0, fault.New(fault.Aborted, fault.ETagMismatch, "etag: is not one that this resource had").WithField("etag")
	}
	return n, nil
}

// RequestID returns an optional request id.
//
// Errors: fault FIELD_INVALID for what is not a UUID.
func RequestID(s string) (uuid.NullUUID, error) {
	if s == "" {
		return uuid.NullUUID{}, nil
	}
	u, err := uuid.Parse(s)
	if err != nil {
		return uuid.NullUUID{}, fault.Invalid("request_id", "is not a UUID")
	}
	return uuid.NullUUID{UUID: u, Valid: true}, nil
}

// User returns a user.
func User(u *identity.User) *identityv1.User {
	m := &identityv1.User{
		Id:          u.ID.String(),
		DisplayName: u.DisplayName,
		CreateTime:  Time(u.CreateTime),
		UpdateTime:  Time(u.UpdateTime),
		Etag:        ETag(u.Version),
	}
	if u.Email != nil {
		m.Email, m.EmailVerified = u.Email.Address, u.Email.Verified()
	}
	return m
}

// Workspace returns a workspace, or nil.
func Workspace(w *tenant.Workspace) *tenantv1.Workspace {
	if w == nil {
		return nil
	}
	m := &tenantv1.Workspace{
		Id:         w.ID.String(),
		Name:       w.Name,
		Slug:       w.Slug,
		State:      tenantv1.WorkspaceState_WORKSPACE_STATE_ACTIVE,
		CreateTime: Time(w.CreateTime),
		UpdateTime: Time(w.UpdateTime),
		DeleteTime: Time(w.DeleteTime),
		PurgeTime:  Time(w.PurgeTime),
		Etag:       ETag(w.Version),

		SecondFactorRequired: w.SecondFactorRequired,
	}
	if w.Deleted() {
		m.State = tenantv1.WorkspaceState_WORKSPACE_STATE_DELETED
	}
	return m
}

// Membership returns a membership, or nil.
func Membership(m *team.Membership) *teamv1.Membership {
	if m == nil {
		return nil
	}
	out := &teamv1.Membership{
		Id:          m.ID.String(),
		WorkspaceId: m.WorkspaceID.String(),
		UserId:      m.UserID.String(),
		Role:        string(m.Role),
		State:       teamv1.MembershipState_MEMBERSHIP_STATE_ACTIVE,
		DisplayName: m.DisplayName,
		Email:       m.Address,
		CreateTime:  Time(m.CreateTime),
		UpdateTime:  Time(m.UpdateTime),
		Etag:        ETag(m.Version),
	}
	if !m.Active() {
		out.State, out.DeactivateTime = teamv1.MembershipState_MEMBERSHIP_STATE_DEACTIVATED, Time(m.DeactivateTime)
	}
	return out
}

// Memberships returns memberships.
func Memberships(rows []team.Membership) []*teamv1.Membership {
	out := make([]*teamv1.Membership, len(rows))
	for i := range rows {
		out[i] = Membership(&rows[i])
	}
	return out
}

// Session returns a session; current says whether the call came with it.
func Session(s *auth.Session, current bool) *authv1.Session {
	return &authv1.Session{
		Id:               s.ID.String(),
		UserId:           s.UserID.String(),
		Transport:        Transport(s.Transport),
		CreateTime:       Time(s.CreateTime),
		AuthenticateTime: Time(s.AuthTime),
		LastUseTime:      Time(s.LastUseTime),
		IdleExpireTime:   Time(s.IdleExpireTime),
		ExpireTime:       Time(s.ExpireTime),
		ClientAddress:    s.ClientAddress,
		UserAgent:        s.UserAgent,
		Current:          current,

		Methods:             Methods(s.Methods),
		SecondFactorPending: s.SecondFactorPending,
		SecondFactorProven:  s.SecondFactorProven,
		ImpersonatorUserId:  s.ImpersonatorID.String(),
	}
}

// Methods returns by what a user proved who they are.
func Methods(list []authz.Method) []authv1.AuthenticationMethod {
	out := make([]authv1.AuthenticationMethod, len(list))
	for i, m := range list {
		out[i] = methods[m]
	}
	return out
}

var methods = map[authz.Method]authv1.AuthenticationMethod{
	authz.ByPassword:     authv1.AuthenticationMethod_AUTHENTICATION_METHOD_PASSWORD,
	authz.ByEmail:        authv1.AuthenticationMethod_AUTHENTICATION_METHOD_EMAIL,
	authz.ByTOTP:         authv1.AuthenticationMethod_AUTHENTICATION_METHOD_TOTP,
	authz.ByRecoveryCode: authv1.AuthenticationMethod_AUTHENTICATION_METHOD_RECOVERY_CODE,
	authz.ByPasskey:      authv1.AuthenticationMethod_AUTHENTICATION_METHOD_PASSKEY,
	authz.ByExternal:     authv1.AuthenticationMethod_AUTHENTICATION_METHOD_EXTERNAL,
}

// Transport returns how a session's token travels.
func Transport(t authz.Transport) authv1.SessionTransport {
	if t == authz.Cookie {
		return authv1.SessionTransport_SESSION_TRANSPORT_COOKIE
	}
	return authv1.SessionTransport_SESSION_TRANSPORT_BEARER
}
