package store

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
)

// mailSecurity tells a user at their address that something changed of how their
// account is protected. The reason is an operator's; "" for none.
func (t *tx) mailSecurity(ctx context.Context, user ids.User, change mail.Change, reason string) error {
	u, err := t.identity.User(ctx, user)
	if err != nil || u.Email == nil {
		return err
	}
	address, agent := "", ""
	if client := authz.ClientFrom(ctx); client.Address.IsValid() && reason == "" { // not from where an operator works
		address, agent = client.Address.String(), client.UserAgent
	}
	return t.mail(ctx, letter{Message: mail.Message{Template: mail.SecurityChange, To: u.Email.Address, Data: map[string]string{
		"name":        u.DisplayName,
		"change":      string(change),
		"change_time": t.now.Format(time.RFC3339),
		"address":     address,
		"agent":       agent,
		"reason":      reason,
	}}})
}
