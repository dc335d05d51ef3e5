package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/store"
)

// userCmd are the commands about accounts, as operators have them in the API. They
// work while the server runs, too; mails are sent by it, or by its next start.
type userCmd struct {
	Find         userFindCmd         `cmd:"" help:"Find accounts by a part of their address or name, or by id."`
	Disable      userDisableCmd      `cmd:"" help:"End an account's sessions, and refuse its sign-ins and API keys."`
	Enable       userEnableCmd       `cmd:"" help:"Let a disabled account sign in again."`
	SignOut      userSignOutCmd      `cmd:"" help:"End an account's sessions."`
	ResetFactors userResetFactorsCmd `cmd:"" help:"Remove an account's authenticator apps, passkeys and recovery codes, and end its sessions."`
	Impersonate  userImpersonateCmd  `cmd:"" help:"Start a session of 30 minutes in a user's name, which only reads, and print its token."`
}

// operated is what commands have in common that an operator does to an account.
type operated struct {
	User       string `arg:"" name:"user" help:"E-mail address of the user, or id."`
	Reason     string `name:"reason" required:"" placeholder:"TEXT" help:"Why: recorded in the account's events, and mailed to its owner."`
	storeFlags `embed:""`
}

// maxReason is the longest reason, in characters.
const maxReason = 500

func (o operated) operation(ctx context.Context, st *store.Store) (store.Operation, string, error) {
	if n := utf8.RuneCountInString(o.Reason); strings.TrimSpace(o.Reason) == "" || n > maxReason || strings.ContainsFunc(o.Reason, unicode.IsControl) {
		return store.Operation{}, "", fmt.Errorf("--reason must be a line of 1 to %d characters", maxReason)
	}
	u, err := findUser(ctx, st, o.User)
	if err != nil {
		return store.Operation{}, "", err
	}
	return store.Operation{User: u.ID, Reason: o.Reason, CommandLine: true}, called(u), nil
}

// run does something to an account, and tells it.
func (o operated) run(c console, told string, do func(*store.Store) func(context.Context, store.Operation) (*store.OperatedUser, error)) error {
	return withStore(o.storeFlags, c, func(ctx context.Context, st *store.Store) error {
		operation, name, err := o.operation(ctx, st)
		if err != nil {
			return err
		}
		if _, err := do(st)(ctx, operation); err != nil {
			return err
		}
		return done(c, told, name)
	})
}

type userDisableCmd struct {
	operated `embed:""`
}

// Run disables an account.
func (u *userDisableCmd) Run(c console) error {
	return u.run(c, "%s is disabled", func(st *store.Store) func(context.Context, store.Operation) (*store.OperatedUser, error) {
		return st.DisableUser
	})
}

type userEnableCmd struct {
	operated `embed:""`
}

// Run enables an account.
func (u *userEnableCmd) Run(c console) error {
	return u.run(c, "%s is enabled", func(st *store.Store) func(context.Context, store.Operation) (*store.OperatedUser, error) {
		return st.EnableUser
	})
}

type userSignOutCmd struct {
	operated `embed:""`
}

// Run ends an account's sessions.
func (u *userSignOutCmd) Run(c console) error {
	return u.run(c, "%s is signed out everywhere", func(st *store.Store) func(context.Context, store.Operation) (*store.OperatedUser, error) {
		return st.SignOutUser
	})
}

type userResetFactorsCmd struct {
	operated `embed:""`
}

// Run removes an account's second factors.
func (u *userResetFactorsCmd) Run(c console) error {
	return u.run(c, "%s has no second factors any more", func(st *store.Store) func(context.Context, store.Operation) (*store.OperatedUser, error) {
		return st.ResetSecondFactors
	})
}

type userImpersonateCmd struct {
	operated `embed:""`
	As       string `name:"as" required:"" placeholder:"EMAIL" help:"The operator who acts: shown to the user, and recorded in every event."`
}

// Run starts a session in a user's name, and prints its token alone.
func (u *userImpersonateCmd) Run(c console) error {
	return withStore(u.storeFlags, c, func(ctx context.Context, st *store.Store) error {
		operation, name, err := u.operation(ctx, st)
		if err != nil {
			return err
		}
		operator, err := findUser(ctx, st, u.As)
		if err != nil {
			return fmt.Errorf("--as: %w", err)
		}
		session, token, err := st.ImpersonateUser(ctx, store.Impersonation{
			Operation: operation, Operator: operator.ID, Transport: authz.Bearer, Client: authz.Client{UserAgent: "manager user impersonate"},
		})
		if err != nil {
			return err
		}
		_, notice := fmt.Fprintf(c.err, "session of %s until %s; send the token as \"Authorization: Bearer\"\n", name, session.ExpireTime.UTC().Format(time.RFC3339))
		return errors.Join(notice, done(c, "%s", token))
	})
}

type userFindCmd struct {
	Query      string `arg:"" optional:"" name:"query" help:"A part of an address or name, at least 3 characters, or an id. Default: all."`
	Limit      int    `name:"limit" default:"50" placeholder:"N" help:"How many to list at most, the newest first. Default: 50."`
	storeFlags `embed:""`
}

// Run lists accounts.
func (u *userFindCmd) Run(c console) error {
	if u.Limit < 1 {
		return errors.New("--limit must be at least 1")
	}
	return withStore(u.storeFlags, c, func(ctx context.Context, st *store.Store) error {
		table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		count, next := 0, ""
		for first := true; count < u.Limit && (first || next != ""); first = false {
			var users []store.OperatedUser
			var err error
			if users, next, err = st.FindUsers(ctx, u.Query, store.Page{Size: min(200, u.Limit-count), Token: next}); err != nil {
				return err
			}
			for _, one := range users {
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", one.ID, called(one.User), one.DisplayName, strings.Join(notes(one), ", "))
			}
			count += len(users)
		}
		more := ""
		if next != "" {
			more = ", and more"
		}
		fmt.Fprintf(table, "%s%s\n", counted(count, "user"), more)
		return table.Flush()
	})
}

// notes are what is special about an account.
func notes(u store.OperatedUser) []string {
	list := []string{"since " + u.CreateTime.UTC().Format(time.DateOnly)}
	if u.Email == nil || !u.Email.Verified() {
		list = append(list, "address not proven")
	}
	if u.Operator {
		list = append(list, "operator")
	}
	if u.SecondFactorRequired {
		list = append(list, "second factor")
	}
	if !u.DisableTime.IsZero() {
		list = append(list, "disabled: "+u.DisableReason)
	}
	return append(list, counted(u.SessionCount, "session")+", "+counted(u.WorkspaceCount, "workspace"))
}
