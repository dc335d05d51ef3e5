// Package team serves the module team: who belongs to a workspace, as what, and how
// one comes to.
package team

import (
	"context"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store"
)

// Options are what the module needs.
type Options struct {
	Store *store.Store
	Clock clock.Clock
	// Permissions are those that the rules of the API name.
	Permissions authz.Catalog
	// PublicURL is where people reach the server: links begin with it.
	PublicURL string
	// Passwords judges, hashes and checks passwords of those who register.
	Passwords Passwords
	// IssueSession hands the token of a new account's session to the caller: as a
	// cookie, and then it returns "", or to be put into the answer.
	IssueSession func(context.Context, *store.Account) string
	// LimitMail counts a mail to an address that others can cause. It returns a
	// fault RATE_LIMITED when there were too many.
	LimitMail func(context.Context, email.Address) error
	// LimitMails is LimitMail for many addresses at once; the faults are in their
	// order.
	LimitMails func(context.Context, []email.Address) ([]error, error)
	// Invitations limits the mails of one workspace's invitations.
	Invitations store.Limit
	// Inviter limits the mails of one user's invitations, to whatever workspaces.
	Inviter store.Limit
	// Codes limits the tries of codes for one address.
	Codes store.Limit
	// Requests limits the mails that others can cause to those who run a workspace.
	Requests store.Limit
}

// Passwords judges, hashes and checks passwords.
type Passwords interface {
	// JudgePassword returns a fault PASSWORD_LENGTH, PASSWORD_COMMON or PASSWORD_LEAKED
	// for a password that nobody should have.
	JudgePassword(ctx context.Context, field, given string, about ...string) error
	// HashPassword returns the form in which a password is kept.
	HashPassword(ctx context.Context, given string) (string, error)
	// CheckPassword returns a fault CREDENTIALS_INVALID for a wrong password, counted
	// against whose it is meant to be.
	CheckPassword(ctx context.Context, whose, given, hash string) error
}

// Module implements the module's services.
type Module struct{ options Options }

// New returns the module.
func New(o Options) *Module { return &Module{o} }

// parse reads an id of a request's field.
func parse[I any](field, s string, read func(string) (I, error)) (I, error) {
	id, err := read(s)
	if err != nil {
		return id, fault.Invalid(field, err.Error())
	}
	return id, nil
}

func workspaceID(s string) (ids.Workspace, error) {
	return parse("workspace_id", s, ids.Parse[ids.Workspace])
}

// roleOr returns the role of a request, or another one where none is given.
func roleOr(s string, other authz.Role) authz.Role {
	if s == "" {
		return other
	}
	return authz.Role(s)
}

func page(size int32, token string) store.Page { return store.Page{Size: int(size), Token: token} }
