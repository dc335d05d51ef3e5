package rpc

import (
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
)

// impersonable are the methods with an effect that an operator may call in a user's
// name, beside those without one. All others are refused, those that are added later
// among them: what somebody signs in by, what the account is, who gets into a
// workspace and who owns it are the user's to decide, and outlast the 30 minutes of
// the session.
var impersonable = map[string]bool{
	"/logicspike.auth.v1.AuthenticationService/SignOut":      true,
	"/logicspike.auth.v1.TokenService/CreateAccessToken":     true, // it names the operator
	"/logicspike.tenant.v1.WorkspaceService/UpdateWorkspace": true,
}

// mayImpersonate reports whether an operator may call the method in a user's name.
func mayImpersonate(d protoreflect.MethodDescriptor, m *method) bool {
	options, ok := d.Options().(*descriptorpb.MethodOptions)
	without := ok && options.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
	return !m.recent && (without || impersonable[m.procedure])
}

// authorizeImpersonation refuses what the user alone may do.
func authorizeImpersonation(m *method, session *authz.Session) error {
	if session.Impersonator.IsZero() || m.impersonable {
		return nil
	}
	return fault.New(fault.PermissionDenied, fault.ImpersonationNotAllowed, "who acts in the name of a user cannot do this")
}
