package auth

import (
	"context"
	"errors"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store"
)

// verify checks a password under the limits of wrong ones, which name whose it is
// meant to be; the user is theirs, zero for nobody.
//
// What is counted before the check is given back unless it finds the password wrong,
// so that parallel guesses are no more than the limits allow, and an overloaded server
// counts against nobody.
//
// Errors: fault CREDENTIALS_INVALID, RATE_LIMITED, OVERLOADED.
func (m *Module) verify(ctx context.Context, whose string, user ids.User, given, hash string) (stale bool, err error) {
	a, err := m.attempt(ctx, whose, user)
	if err != nil {
		return false, err
	}
	match, stale, err := m.options.Hasher.Verify(ctx, given, hash)
	if err != nil {
		return false, errors.Join(err, a.giveBack(context.WithoutCancel(ctx)))
	}
	if !match {
		return false, errCredentials()
	}
	return stale, a.succeed(ctx)
}

// attempt is a password that is about to be checked, and is counted as a wrong one
// until it is found to be right.
type attempt struct {
	failures store.Failures
	counters []counter
}

// counter counts failures in a row.
type counter struct {
	key   string
	delay store.Backoff
	// shared tells that the failures are those of many accounts: a success does not
	// end them, since who guesses may have an account of their own.
	shared bool
	try    store.Try
}

// attempt counts one.
//
// A stranger must not be able to lock somebody out: what strangers do is counted for
// the account as a whole, while a device from which the user has signed in before
// counts for itself alone (NIST SP 800-63B-4, 3.2.2; OWASP ASVS 5.0, 6.1.1 and 6.3.1).
//
// Errors: fault RATE_LIMITED, and then nothing is counted.
func (m *Module) attempt(ctx context.Context, whose string, user ids.User) (*attempt, error) {
	device, err := m.options.Store.KnownDevice(ctx, user)
	if err != nil {
		return nil, err
	}
	a := &attempt{failures: m.options.Store.Failures}
	account, site := accountKey(whose), client(ctx).Site()
	counters := []counter{
		{key: account + " " + site, delay: m.options.PasswordFailures},
		{key: account, delay: m.options.AccountFailures},
		{key: "passwords from " + site, delay: m.options.NetworkFailures, shared: true},
	}
	if device != "" {
		counters = []counter{{key: account + " device " + device, delay: m.options.PasswordFailures}}
	}
	for _, c := range counters {
		if c.try, err = a.failures.Begin(ctx, c.key, c.delay); err != nil {
			return nil, errors.Join(err, a.giveBack(context.WithoutCancel(ctx)))
		}
		a.counters = append(a.counters, c)
	}
	return a, nil
}

// giveBack takes back what was counted: the password was not checked.
func (a *attempt) giveBack(ctx context.Context) error {
	var err error
	for _, c := range a.counters {
		err = errors.Join(err, a.failures.Return(ctx, c.try))
	}
	return err
}

// succeed ends the failures in a row of the account, from where it was tried.
func (a *attempt) succeed(ctx context.Context) error {
	var ended []string
	for _, c := range a.counters {
		if !c.shared {
			ended = append(ended, c.key)
		} else if err := a.failures.Return(ctx, c.try); err != nil {
			return err
		}
	}
	return a.failures.Succeed(ctx, ended...)
}

// accountKey names the counter of wrong passwords for one account from everywhere.
func accountKey(whose string) string { return "password " + whose }
