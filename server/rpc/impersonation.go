package rpc

import (
	"errors"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	authzv1 "github.com/logicspike/manager/gen/go/logicspike/authz/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
)

// compileImpersonation reads whether an operator may call the method in a user's
// name: one without any effect, or one whose rule says so. All others are refused,
// those that are added later among them: what somebody signs in by, what the account
// is, who gets into a workspace and who owns it are the user's to decide, and outlast
// the 30 minutes of the session.
func (m *method) compileImpersonation(d protoreflect.MethodDescriptor, rule *authzv1.Rule) error {
	options, _ := d.Options().(*descriptorpb.MethodOptions)
	effectless := options.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
	switch {
	case rule.GetImpersonation() && m.recent:
		return errors.New("no operator in a user's name has authenticated recently")
	case rule.GetImpersonation() && (effectless || m.caller == operator):
		return errors.New("its rule need not speak of impersonation")
	}
	m.impersonable = rule.GetImpersonation() || effectless && !m.recent
	return nil
}

// authorizeImpersonation refuses what the user alone may do.
func authorizeImpersonation(m *method, session *authz.Session) error {
	if session.Impersonator.IsZero() || m.impersonable {
		return nil
	}
	return fault.New(fault.PermissionDenied, fault.ImpersonationNotAllowed, "who acts in the name of a user cannot do this")
}
