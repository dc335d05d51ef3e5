package store

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/riverqueue/river"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
)

// Refusal is a try to sign in, or to prove again who one is, that was refused.
type Refusal struct {
	// User is whose account it was tried for, if that is known; else AddressKey.
	User       ids.User
	AddressKey string
	// Action is that of the event, `sign_in.refused` or `reauthentication.refused`.
	Action string
	Method authz.Method
	Reason fault.Reason
}

// RefusalJob is a refusal in the queue. What it holds is sealed with the store's key,
// since the address may be that of somebody who has no account here.
type RefusalJob struct {
	Sealed []byte `json:"sealed"`
}

// Kind names the job in the queue.
func (RefusalJob) Kind() string { return "refusal" }

// InsertOpts gives up after some minutes of failures.
func (RefusalJob) InsertOpts() river.InsertOpts { return river.InsertOpts{MaxAttempts: 5} }

// sealedRefusal is what a RefusalJob seals.
type sealedRefusal struct {
	User       string       `json:"user,omitempty"`
	AddressKey string       `json:"address_key,omitempty"`
	Action     string       `json:"action"`
	Method     authz.Method `json:"method"`
	Reason     fault.Reason `json:"reason"`
	Client     string       `json:"client"`
	UserAgent  string       `json:"user_agent"`
}

// refusalContext is what sealed refusals are bound to.
const refusalContext = "refusal job"

// RecordRefusal has a refusal written into the log of the account, if there is one:
// that is looked up later, so that the call takes the same time and does the same work
// in either case.
func (s *Store) RecordRefusal(ctx context.Context, r Refusal) error {
	client := authz.ClientFrom(ctx)
	in := sealedRefusal{
		User: r.User.String(), AddressKey: r.AddressKey, Action: r.Action, Method: r.Method, Reason: r.Reason, UserAgent: client.UserAgent,
	}
	if client.Address.IsValid() {
		in.Client = client.Address.String()
	}
	data, err := json.Marshal(in)
	if err != nil {
		return err
	}
	job := RefusalJob{Sealed: s.mails.Seal(data, refusalContext)}
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := s.jobs.InsertTx(ctx, t.sql.Tx, job, nil); err != nil {
			return fmt.Errorf("queue a refusal: %w", err)
		}
		return nil
	})
}

// WorkRefusal writes a refusal of the queue into the log of its account. Of an address
// without an account nothing is kept.
//
// Errors: when the job was sealed with another key, or the database fails.
func (s *Store) WorkRefusal(ctx context.Context, job RefusalJob) error {
	data, err := s.mails.Open(job.Sealed, refusalContext)
	if err != nil {
		return err
	}
	var r sealedRefusal
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	client := authz.Client{UserAgent: r.UserAgent}
	client.Address, _ = netip.ParseAddr(r.Client) // none when the caller's was not known
	err = s.write(authz.WithClient(ctx, client), func(ctx context.Context, t *tx) error {
		user, err := ids.Parse[ids.User](r.User)
		if r.User == "" {
			address, err := t.identity.Address(ctx, r.AddressKey)
			if err != nil || address == nil {
				return err
			}
			user = address.UserID
		} else if err != nil {
			return err
		}
		if err := t.identity.HoldUser(ctx, user); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{
			UserID: user, ActorKind: audit.System, Action: r.Action, TargetID: user.String(),
			Details: map[string]any{"method": string(r.Method), "refusal": string(r.Reason)},
		})
	})
	if f := fault.As(err); f != nil && (f.Kind == fault.Unauthenticated || f.Kind == fault.NotFound) {
		return nil // deleted meanwhile
	}
	return err
}
