package auth

// This file holds the places of what other changes bring, and goes with them: delete
// it once ListSecurityEvents is there.

import (
	"context"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
)

// ListSecurityEvents implements SecurityService.
func (m *Module) ListSecurityEvents(context.Context, *authv1.ListSecurityEventsRequest) (*authv1.ListSecurityEventsResponse, error) {
	return &authv1.ListSecurityEventsResponse{}, nil
}
