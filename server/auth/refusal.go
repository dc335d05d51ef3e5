package auth

import (
	"context"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store"
)

// The actions of refusals in the log of an account.
const (
	signInRefused           = "sign_in.refused"
	reauthenticationRefused = "reauthentication.refused"
)

// refused notes, in the log of the account, that a proof of who calls was refused, and
// returns err. So many are noted in an hour, and no more: whoever guesses must not fill
// the log. What it does does not depend on whether there is an account.
func (m *Module) refused(ctx context.Context, r store.Refusal, err error) error {
	f := fault.As(err)
	if f == nil {
		return err
	}
	switch f.Reason {
	case fault.CredentialsInvalid, fault.SecondFactorInvalid, fault.CodeInvalid, fault.AccountDisabled:
	default:
		return err
	}
	whose := r.AddressKey
	if whose == "" {
		whose = r.User.String()
	}
	// A caller who has gone is noted, too.
	ctx = context.WithoutCancel(ctx)
	if limited := m.options.Store.Throttle.Take(ctx, "refused "+whose, m.options.Refusals); limited != nil {
		if fault.Has(limited, fault.RateLimited) {
			return err
		}
		return limited
	}
	r.Reason = f.Reason
	if failed := m.options.Store.RecordRefusal(ctx, r); failed != nil {
		return failed
	}
	return err
}

// refusedAgain is refused for the user of a session, who was to prove again who they
// are.
func (m *Module) refusedAgain(ctx context.Context, user ids.User, by authz.Method, err error) error {
	return m.refused(ctx, store.Refusal{User: user, Action: reauthenticationRefused, Method: by}, err)
}
