package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/logicspike/manager/store"
)

// keysCmd are the commands about the keys that sign access tokens. `serve` rotates
// them by itself; they are for those who cannot wait. They work while the server runs,
// too.
type keysCmd struct {
	List   keysListCmd   `cmd:"" help:"List the keys that sign access tokens, and when each is used."`
	Rotate keysRotateCmd `cmd:"" help:"Have the next key sign access tokens, at once if it is published long enough (24 hours)."`
}

// keysSettings are the settings that these commands need: those of the server.
type keysSettings struct {
	storeFlags         `embed:""`
	SigningKeyLifetime time.Duration `group:"Tokens" name:"signing-key-lifetime" env:"MANAGER_SIGNING_KEY_LIFETIME" default:"720h" placeholder:"DURATION" help:"How long a key signs access tokens before the next one does. Default: 720h (30 days)."`
}

type keysListCmd struct {
	keysSettings `embed:""`
}

// Run lists the keys.
func (k *keysListCmd) Run(c console) error {
	return withKeys(k.keysSettings, c, func(ctx context.Context, st *store.Store) error { return printKeys(ctx, st, c) })
}

type keysRotateCmd struct {
	keysSettings  `embed:""`
	RevokeCurrent bool `xor:"revoke" name:"revoke-current" help:"Publish the present key no more: what it signed is refused as soon as services notice, within minutes. The next key signs at once."`
	RevokeAll     bool `xor:"revoke" name:"revoke-all" help:"Publish none of the present keys any more, the next one included: for when the database and the secret key may be known to others."`
}

// Run rotates the keys, and lists them.
func (k *keysRotateCmd) Run(c console) error {
	revoke := store.RevokeNone
	switch {
	case k.RevokeCurrent:
		revoke = store.RevokeCurrent
	case k.RevokeAll:
		revoke = store.RevokeAll
	}
	return withKeys(k.keysSettings, c, func(ctx context.Context, st *store.Store) error {
		if err := st.RotateSigningKeys(ctx, revoke); err != nil {
			return err
		}
		return printKeys(ctx, st, c)
	})
}

// withKeys calls fn with the store.
func withKeys(s keysSettings, c console, fn func(context.Context, *store.Store) error) error {
	return withStoreOf(s.storeFlags, store.Options{SigningKeyLifetime: s.SigningKeyLifetime}, c, fn)
}

func printKeys(ctx context.Context, st *store.Store, c console) error {
	keys, err := st.SigningKeys(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	current := store.CurrentKey(keys, now)
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KEY\tSTATE\tPUBLISHED\tUSED FROM\tUSED UNTIL\tPUBLISHED UNTIL")
	for i, k := range keys {
		state := k.StateAt(now)
		if state == store.KeyCurrent && &keys[i] != current {
			state = store.KeyRetired // which the servers note soon
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, state, at(k.CreateTime), at(k.ActivateTime), at(k.RetireTime), at(k.ExpireTime))
	}
	return table.Flush()
}

func at(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
