package store

import (
	"context"
	"strings"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/auth"
)

const (
	forDevice    = "device"
	prefixDevice = "lsmd_"

	// maxDeviceMails is how many new devices of an account are told by mail within a
	// day: a program that keeps no token is new each time.
	maxDeviceMails = 5
)

// deviceLength is the length of every device's token.
var deviceLength = len(secret.NewToken(prefixDevice))

// hashOfDevice returns the stored form of a device's token, and whether it is one.
func hashOfDevice(token authz.DeviceToken) (secret.Hash, bool) {
	text := token.Reveal()
	if len(text) != deviceLength || !strings.HasPrefix(text, prefixDevice) {
		return secret.Hash{}, false
	}
	return secret.HashOf(forDevice, text), true
}

// KnownDevice returns a name of the device that the call came from, if the user has
// signed in from it before, and "" otherwise. The name is the same at each call, and
// tells nothing of the token. For no user the same work is done.
func (s *Store) KnownDevice(ctx context.Context, user ids.User) (string, error) {
	hash, ok := hashOfDevice(authz.ClientFrom(ctx).Device)
	if !ok {
		return "", nil
	}
	known, err := s.Auth.DeviceKnown(ctx, user, hash, s.options.Clock.Now())
	if err != nil || !known {
		return "", err
	}
	return string(hash[:]), nil
}

// noteDevice records that the user of a session, who is held, has signed in from a
// device. One that they have not used before is told by mail. It gets a token, in the
// session, unless it has one of another user's: one browser keeps one token for all
// who use it.
//
// A token that nobody's device has is not taken: it was made up, or it is that of a
// device that was forgotten.
func (t *tx) noteDevice(ctx context.Context, session *auth.Session, client authz.Client) error {
	hash, known := hashOfDevice(client.Device)
	if known {
		touched, err := t.auth.TouchDevice(ctx, session.UserID, hash, client.UserAgent, t.now)
		if err != nil || touched {
			session.KnownDevice = touched
			return err
		}
		if known, err = t.auth.DeviceIssued(ctx, hash); err != nil {
			return err
		}
	}
	session.KnownDevice = known
	if !known {
		session.DeviceToken = secret.NewToken(prefixDevice)
		hash = secret.HashOf(forDevice, session.DeviceToken)
	}
	recent, err := t.auth.InsertDevice(ctx, &auth.Device{
		ID: ids.New[ids.Device](), UserID: session.UserID, TokenHash: hash[:], UserAgent: client.UserAgent, CreateTime: t.now, LastUseTime: t.now,
	}, t.now.Add(-24*time.Hour))
	if err != nil || recent > maxDeviceMails || t.repeats {
		return err
	}
	u, err := t.identity.User(ctx, session.UserID)
	// Not to an address that nobody has proven, nor to who proves it just now: the
	// first session of an account is no news.
	if err != nil || u.Email == nil || !u.Email.Verified() || !u.Email.VerifiedTime.Before(t.now) {
		return err
	}
	return t.mailSecurity(ctx, session.UserID, mail.NewDevice, "")
}

// forgetDevices forgets from where a locked user has signed in, but for the device
// that calls: who knew the password no longer passes for the user.
func (t *tx) forgetDevices(ctx context.Context, user ids.User) error {
	present, _ := hashOfDevice(authz.ClientFrom(ctx).Device)
	return t.auth.DeleteDevices(ctx, user, present)
}
