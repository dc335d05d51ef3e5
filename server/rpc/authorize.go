package rpc

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
)

// authorize decides by the method's rule whether the session may make the call,
// and returns a context that carries what it found.
func (s *Stack) authorize(ctx context.Context, m *method, session *authz.Session, request proto.Message) (context.Context, error) {
	s.judge(session)
	ctx = authz.WithSession(ctx, session)
	if session.SecondFactorPending && !m.pending {
		return ctx, fault.New(fault.FailedPrecondition, fault.SecondFactorRequired, "prove your second factor first: MfaService.VerifySecondFactor")
	}
	switch m.caller {
	case member:
		var err error
		if ctx, err = s.authorizeMember(ctx, m, session, request); err != nil {
			return ctx, err
		}
	case operator:
		if err := s.authorizeOperator(ctx, session); err != nil {
			return ctx, err
		}
	}
	if err := authorizeImpersonation(m, session); err != nil {
		return ctx, err
	}
	// Last, so that an outsider learns nothing from it.
	if m.recent && !session.Recent {
		return ctx, fault.New(fault.FailedPrecondition, fault.ReauthenticationRequired, "sign in again or call Reauthenticate, then repeat the call")
	}
	return ctx, nil
}

// judge tells whether the session's user has proven who they are recently: never who
// acts in the name of somebody else, nor who owes a second factor.
func (s *Stack) judge(session *authz.Session) {
	session.Recent = session.Impersonator.IsZero() && !session.SecondFactorPending &&
		s.options.Clock.Now().Sub(session.AuthTime) <= s.options.ReauthenticationAge
}

// authorizeOperator decides whether the session is an operator's own.
func (s *Stack) authorizeOperator(ctx context.Context, session *authz.Session) error {
	is := false
	if session.Impersonator.IsZero() {
		var err error
		if is, err = s.options.Operators.Operator(ctx, session.User); err != nil {
			return err
		}
	}
	if !is {
		return fault.New(fault.PermissionDenied, fault.OperatorRequired, "only operators of the server can do this")
	}
	return nil
}

func (s *Stack) authorizeMember(ctx context.Context, m *method, session *authz.Session, request proto.Message) (context.Context, error) {
	workspace, named, err := m.workspaceOf(request)
	if err != nil || !named {
		return ctx, err
	}
	membership, err := s.options.Members.Membership(ctx, workspace, session.User)
	if f := fault.As(err); f != nil && f.Kind == fault.NotFound {
		return ctx, fault.NotFoundFault()
	}
	if err != nil {
		return ctx, err
	}
	if membership.Deleted && (!m.allowDeleted || membership.Role != authz.Owner) {
		return ctx, fault.NotFoundFault()
	}
	if membership.ClosedTo(session) {
		return ctx, fault.SecondFactorMissing()
	}
	if !membership.Holds(*m.permission) {
		return ctx, fault.New(fault.PermissionDenied, fault.PermissionMissing, "your role in the workspace lacks the permission "+m.permission.Name).
			WithMetadata("permission", m.permission.Name)
	}
	membership.Permission = *m.permission
	return authz.WithMembership(ctx, membership), nil
}

// workspaceOf returns the workspace that a request names, and whether it names one:
// it may not where that is optional.
func (m *method) workspaceOf(request proto.Message) (id ids.Workspace, named bool, err error) {
	text := request.ProtoReflect().Get(m.field).String()
	if text == "" && m.optional {
		return id, false, nil
	}
	if id, err = ids.Parse[ids.Workspace](text); err != nil {
		// The parser quotes characters of the text, which may be any.
		return id, false, fault.Invalid(string(m.field.Name()), "not the id of a workspace, which is wsp_ and 26 characters")
	}
	return id, true, nil
}
