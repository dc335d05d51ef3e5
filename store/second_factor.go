package store

import (
	"context"
	"strings"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/auth"
)

// recoveryCodes is how many recovery codes an account has at first.
const recoveryCodes = 10

// forRecovery is the purpose of recovery codes, which is part of their hashes.
const forRecovery = "recovery code"

// newRecoveryCodes gives a locked user new recovery codes in place of those they
// have, and returns them. Each has 128 random bits (NIST SP 800-63B-4, 4.2.1.1 asks
// for 64).
func (t *tx) newRecoveryCodes(ctx context.Context, user ids.User) ([]string, error) {
	codes, hashes := make([]string, recoveryCodes), make([]secret.Hash, recoveryCodes)
	for i := range codes {
		codes[i] = secret.NewRecoveryCode()
		hashes[i] = hashOfRecovery(user, codes[i])
	}
	return codes, t.auth.ReplaceRecoveryCodes(ctx, user, hashes, t.now)
}

// hashOfRecovery is the stored form of a recovery code, which people may type
// without its dashes, or in capitals.
func hashOfRecovery(user ids.User, code string) secret.Hash {
	plain := strings.NewReplacer("-", "", " ", "").Replace(strings.ToLower(code))
	return secret.HashOf(forRecovery+" "+user.String(), plain)
}

// factorAdded is called once a locked user, who had the second factors given before,
// has one more. With the first one it returns new recovery codes, and ends the
// sessions but for the present one: they began without it.
func (t *tx) factorAdded(ctx context.Context, user ids.User, before auth.SecondFactors, present ids.Session) ([]string, error) {
	if before.Required() {
		return nil, nil
	}
	if _, err := t.auth.DeleteSessions(ctx, user, present); err != nil {
		return nil, err
	}
	return t.newRecoveryCodes(ctx, user)
}

// factorRemoved is called once a locked user has one second factor less. With the
// last one the recovery codes go, too, and what sessions have of it.
func (t *tx) factorRemoved(ctx context.Context, user ids.User) error {
	left, err := t.auth.SecondFactors(ctx, user)
	if err != nil || left.Required() {
		return err
	}
	if err := t.auth.ForgetSecondFactor(ctx, user); err != nil {
		return err
	}
	return t.auth.ReplaceRecoveryCodes(ctx, user, nil, t.now)
}
