package store

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
)

// SecurityEvent is what happened to how an account is protected.
type SecurityEvent struct {
	ID         ids.Event
	Action     string
	CreateTime time.Time
	// ClientAddress and UserAgent are from where it was caused; "" where nobody called,
	// and of operators, whose network is their own affair.
	ClientAddress string
	UserAgent     string
	// Operator is who did it, if it was not the user; zero for none, and for the
	// command line of the server.
	Operator ids.User
	// Reason is the operator's.
	Reason string
}

// SecurityEvents returns a page of what is in the log of an account but for changes of
// the profile, the newest first, and the next page's token.
//
// Errors: fault PAGE_TOKEN_INVALID.
func (s *Store) SecurityEvents(ctx context.Context, user ids.User, page Page) ([]SecurityEvent, string, error) {
	rows, next, err := s.Audit.List(ctx, audit.Filter{UserID: user, Except: "user.updated"}, page)
	if err != nil {
		return nil, "", err
	}
	list := make([]SecurityEvent, len(rows))
	for i, e := range rows {
		list[i] = SecurityEvent{ID: e.ID, Action: e.Action, CreateTime: e.CreateTime, ClientAddress: e.ClientAddress, UserAgent: e.UserAgent}
		switch {
		case !e.ImpersonatorID.IsZero():
			list[i].Operator = e.ImpersonatorID
		case e.ActorKind == audit.User && e.ActorUserID != user:
			list[i].Operator = e.ActorUserID
		case e.ActorKind != audit.Operator:
			continue
		}
		list[i].ClientAddress, list[i].UserAgent = "", ""
		list[i].Reason, _ = e.Details["reason"].(string)
	}
	return list, next, nil
}
