package auth

import (
	"context"
	"errors"

	"github.com/logicspike/manager/internal/ids"
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
	module *Module
	// limited is the counter of the account and the network or known device that the
	// call comes from; delayed those whose failures are followed by longer and longer
	// delays; network is the one of them for all accounts, "" where it does not count.
	limited, delayed, network string
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
	a := &attempt{module: m, delayed: accountKey(whose)}
	if device == "" {
		site := client(ctx).Site()
		a.limited, a.network = a.delayed+" "+site, "passwords from "+site
	} else {
		a.delayed += " device " + device
		a.limited = a.delayed
	}
	throttle, failures := m.options.Store.Throttle, m.options.Store.Failures
	if err := throttle.Take(ctx, a.limited, m.options.PasswordFailures); err != nil {
		return nil, err
	}
	if err := failures.Begin(ctx, a.delayed, m.options.AccountFailures); err != nil {
		return nil, errors.Join(err, throttle.Return(ctx, a.limited, m.options.PasswordFailures))
	}
	if a.network == "" {
		return a, nil
	}
	if err := failures.Begin(ctx, a.network, m.options.NetworkFailures); err != nil {
		return nil, errors.Join(err, throttle.Return(ctx, a.limited, m.options.PasswordFailures), failures.Return(ctx, a.delayed))
	}
	return a, nil
}

// giveBack takes back what was counted: the password was not checked.
func (a *attempt) giveBack(ctx context.Context) error {
	throttle, failures := a.module.options.Store.Throttle, a.module.options.Store.Failures
	err := errors.Join(throttle.Return(ctx, a.limited, a.module.options.PasswordFailures), failures.Return(ctx, a.delayed))
	if a.network != "" {
		err = errors.Join(err, failures.Return(ctx, a.network))
	}
	return err
}

// succeed ends the failures in a row of the account, from where it was tried. Those of
// others' accounts stay: who guesses may have an account of their own.
func (a *attempt) succeed(ctx context.Context) error {
	throttle, failures := a.module.options.Store.Throttle, a.module.options.Store.Failures
	if err := throttle.Release(ctx, a.limited); err != nil {
		return err
	}
	if err := failures.Succeed(ctx, a.delayed); err != nil || a.network == "" {
		return err
	}
	return failures.Return(ctx, a.network)
}

// accountKey names the counter of wrong passwords for one account from everywhere.
func accountKey(whose string) string { return "password " + whose }
