package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/logicspike/manager/store"
)

// operatorCmd are the commands about who is an operator of the server: who may search
// for all accounts and disable them. They work while the server runs, too.
type operatorCmd struct {
	Add    operatorAddCmd    `cmd:"" help:"Make a user an operator of the server."`
	Remove operatorRemoveCmd `cmd:"" help:"End that a user is an operator, and their sessions in the names of others."`
	List   operatorListCmd   `cmd:"" help:"List the operators."`
}

type operatorAddCmd struct {
	User       string `arg:"" name:"email" help:"E-mail address of the user, which they have proven, or id."`
	storeFlags `embed:""`
}

// Run makes an operator.
func (o *operatorAddCmd) Run(c console) error {
	return withStore(o.storeFlags, c, func(ctx context.Context, st *store.Store) error {
		u, err := findUser(ctx, st, o.User)
		if err != nil {
			return err
		}
		added, err := st.AddOperator(ctx, u.ID)
		if err != nil {
			return err
		}
		if !added {
			return done(c, "%s is an operator already", called(u))
		}
		return done(c, "%s is an operator now", called(u))
	})
}

type operatorRemoveCmd struct {
	User       string `arg:"" name:"email" help:"E-mail address of the operator, or id."`
	storeFlags `embed:""`
}

// Run removes an operator.
func (o *operatorRemoveCmd) Run(c console) error {
	return withStore(o.storeFlags, c, func(ctx context.Context, st *store.Store) error {
		u, err := findUser(ctx, st, o.User)
		if err != nil {
			return err
		}
		removed, err := st.RemoveOperator(ctx, u.ID)
		if err != nil {
			return err
		}
		if !removed {
			return fmt.Errorf("%s is no operator", called(u))
		}
		return done(c, "%s is no operator any more", called(u))
	})
}

type operatorListCmd struct {
	storeFlags `embed:""`
}

// Run lists the operators.
func (o *operatorListCmd) Run(c console) error {
	return withStore(o.storeFlags, c, func(ctx context.Context, st *store.Store) error {
		all, err := st.Auth.ListOperators(ctx)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		for _, one := range all {
			fmt.Fprintf(table, "%s\t%s\tsince %s\n", one.UserID, one.Address, one.CreateTime.UTC().Format(time.RFC3339))
		}
		fmt.Fprintln(table, counted(len(all), "operator"))
		return table.Flush()
	})
}

// counted returns a number of things, such as "1 user" and "2 users".
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// done tells what was done.
func done(c console, format string, args ...any) error {
	_, err := fmt.Fprintf(c.out, format+"\n", args...)
	return err
}
