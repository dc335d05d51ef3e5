package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/riverqueue/river"

	"github.com/logicspike/manager/internal/mail"
)

// MailJob is a mail in the queue. What it says is sealed with the store's key,
// since it holds codes and links that must not be read from the database.
type MailJob struct {
	Sealed []byte `json:"sealed"`
}

// Kind names the job in the queue.
func (MailJob) Kind() string { return "mail" }

// InsertOpts gives up after about a day of failures.
func (MailJob) InsertOpts() river.InsertOpts { return river.InsertOpts{MaxAttempts: 12} }

// letter is what a MailJob seals.
//
// What is mailed can depend on whether the address has an account. That is
// looked up only when the mail is sent, so that the call which asked for it
// takes the same time and does the same work in either case.
type letter struct {
	// Message is what to send, if the condition holds.
	Message mail.Message `json:"message"`
	// If is the condition. Default: none.
	If condition `json:"if,omitempty"`
	// Else is what to send otherwise. Default: nothing.
	Else *mail.Message `json:"else,omitempty"`
	// AddressKey is what the condition is about.
	AddressKey string `json:"address_key,omitempty"`
	// bulk is one of many, which wait until all others were sent: who is waiting for a code
	// waits for no crowd.
	bulk bool
}

type condition string

const (
	hasAccount        condition = "account"             // somebody has the address; the mail greets them by name
	noVerifiedAccount condition = "no verified account" // nobody has proven it
	verifiedAccount   condition = "verified account"    // somebody has proven it who can sign in; the mail greets them by name
)

// lastPriority is that of jobs which all others are done before.
const lastPriority = 4

// mailContext is what sealed letters are bound to.
const mailContext = "mail job"

// mail puts letters into the queue: they are sent once the transaction commits.
func (t *tx) mail(ctx context.Context, letters ...letter) error {
	if len(letters) == 0 {
		return nil
	}
	jobs := make([]river.InsertManyParams, len(letters))
	for i, l := range letters {
		data, err := json.Marshal(l)
		if err != nil {
			return err
		}
		jobs[i].Args = MailJob{Sealed: t.store.mails.Seal(data, mailContext)}
		if l.bulk {
			jobs[i].InsertOpts = &river.InsertOpts{Priority: lastPriority}
		}
	}
	if _, err := t.store.jobs.InsertManyFastTx(ctx, t.sql.Tx, jobs); err != nil {
		return fmt.Errorf("queue a mail: %w", err)
	}
	return nil
}

// Letter opens a mail of the queue: what to send now, or nil for nothing.
//
// Errors: when the job was sealed with another key, or the database fails.
func (s *Store) Letter(ctx context.Context, job MailJob) (*mail.Message, error) {
	data, err := s.mails.Open(job.Sealed, mailContext)
	if err != nil {
		return nil, err
	}
	var l letter
	if err := json.Unmarshal(data, &l); err != nil {
		return nil, err
	}
	if l.If == "" {
		return &l.Message, nil
	}
	address, err := s.Identity.Address(ctx, l.AddressKey)
	if err != nil {
		return nil, s.constraints.Fault(err)
	}
	holds := false
	switch l.If {
	case hasAccount:
		holds = address != nil
	case noVerifiedAccount:
		holds = address == nil || !address.Verified()
	case verifiedAccount:
		if address != nil && address.Verified() {
			disabled, err := s.Auth.Disabled(ctx, address.UserID)
			if err != nil {
				return nil, s.constraints.Fault(err)
			}
			holds = !disabled
		}
	}
	if !holds {
		if l.Else != nil && address != nil {
			l.Else.To = address.Address
		}
		return l.Else, nil
	}
	if l.If == hasAccount || l.If == verifiedAccount {
		user, err := s.Identity.User(ctx, address.UserID)
		if err != nil {
			return nil, s.constraints.Fault(err)
		}
		l.Message.Data["name"] = user.DisplayName
		// Never to the spelling that was asked with: to another server it may be
		// another mailbox.
		l.Message.To = address.Address
	}
	return &l.Message, nil
}
