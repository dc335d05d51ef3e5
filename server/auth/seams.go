package auth

// This file holds the places of what other changes bring, and goes with them: delete
// it once verifyPasskey, reauthenticateByPasskey and ListSecurityEvents are there.

import (
	"context"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/store/auth"
)

// verifyPasskey gives the caller's session its second factor by a passkey's answer.
//
// Errors: fault CHALLENGE_INVALID.
func (m *Module) verifyPasskey(context.Context, *authz.Session, *authv1.PasskeyAssertion) (*auth.Session, string, error) {
	return nil, "", errChallenge()
}

// reauthenticateByPasskey gives the caller's session a new token by a passkey's answer.
//
// Errors: fault CHALLENGE_INVALID, FACTOR_MISSING.
func (m *Module) reauthenticateByPasskey(context.Context, *authz.Session, *authv1.PasskeyAssertion) (*auth.Session, string, error) {
	return nil, "", errChallenge()
}

func errChallenge() error {
	return fault.New(fault.FailedPrecondition, fault.ChallengeInvalid, "the challenge is unknown, used or expired, or its answer wrong")
}

// ListSecurityEvents implements SecurityService.
func (m *Module) ListSecurityEvents(context.Context, *authv1.ListSecurityEventsRequest) (*authv1.ListSecurityEventsResponse, error) {
	return &authv1.ListSecurityEventsResponse{}, nil
}
