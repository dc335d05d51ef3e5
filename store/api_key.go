package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/team"
	"github.com/logicspike/manager/store/tenant"
)

const (
	// maxKeys is how many keys of one owner work in a workspace at most.
	maxKeys = 100
	// keyLifetime is how long a key works by default, and maxKeyLifetime at most.
	keyLifetime    = 90 * 24 * time.Hour
	maxKeyLifetime = 366 * 24 * time.Hour
	// keyRetention is how long keys are kept whose time is over: no shorter than the
	// invitations and links, of 90 days at most, that service accounts made by them.
	keyRetention = 90*24*time.Hour + endedRetention
	// keyRequestLifetime is how long a repeated request makes no other key, though the
	// one that it made has ended.
	keyRequestLifetime = 24 * time.Hour
	// hintLength is how many of a key's last characters are shown: a part of the
	// checksum, so nothing of the secret.
	hintLength = 4
	// managePrograms is the permission of whoever decides about service accounts and
	// everybody's keys. It is the one that the rule of CreateServiceAccount names; the
	// methods of keys ask for it beside their own.
	managePrograms = "service_account.manage"
)

// AuthenticateKey returns the live key that a token is, with what it can do now, and
// records its use, to the minute.
//
// Errors: fault SESSION_REQUIRED when there is none.
func (s *Store) AuthenticateKey(ctx context.Context, token string) (*authz.Key, error) {
	found, err := s.findKey(ctx, token)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, errNoSession()
	}
	if now := s.options.Clock.Now(); now.Sub(found.LastUseTime) >= touchInterval {
		if err := s.Keys.Touch(ctx, found.ID, now); err != nil {
			return nil, s.constraints.Fault(err)
		}
	}
	return &found.Key, nil
}

// findKey returns the live key that a token is, with what it can do now, or nil.
func (s *Store) findKey(ctx context.Context, token string) (*auth.FoundKey, error) {
	if !secret.IsChecked(authz.KeyPrefix, token) {
		return nil, nil // and the database is not asked
	}
	found, err := s.Keys.Find(ctx, secret.HashOf(forAPIKey, token), s.options.Clock.Now())
	if err != nil || found == nil {
		return nil, s.constraints.Fault(err)
	}
	if !found.User.IsZero() {
		found.Permissions = s.options.Permissions.Within(found.Permissions, found.Role, found.Custom)
	}
	return found, nil
}

// actByKey returns the API key that calls as an actor in a locked workspace: with what
// the key holds, and of a user's key no more than the user holds.
//
// Errors: fault SESSION_REQUIRED when the key has ended since the call began.
func (t *tx) actByKey(ctx context.Context, w *tenant.Workspace, key *authz.Key) (*acting, error) {
	k, err := t.auth.APIKey(ctx, w.ID, key.ID)
	if fault.Has(err, fault.Missing) || err == nil && !k.Opens(key.Hash, t.now) {
		return nil, errNoSession()
	}
	if err != nil {
		return nil, err
	}
	a := &acting{workspace: w}
	if k.UserID.IsZero() {
		if a.account, err = t.auth.ServiceAccount(ctx, w.ID, k.ServiceAccountID); err != nil {
			return nil, err
		}
		a.role, a.custom = authz.KeyRole, k.Permissions
		return a, nil
	}
	if disabled, err := t.auth.Disabled(ctx, k.UserID); err != nil {
		return nil, err
	} else if disabled {
		return nil, errNoSession()
	}
	if err := t.actAs(ctx, a, k.UserID); err != nil {
		return nil, err
	}
	a.role, a.custom = authz.KeyRole, t.store.options.Permissions.Within(k.Permissions, a.role, a.custom)
	return a, nil
}

// ManagesPrograms reports whether a member decides about service accounts and
// everybody's keys.
func (s *Store) ManagesPrograms(m authz.Membership) bool {
	p, ok := s.options.Permissions.Permission(managePrograms)
	return ok && m.Holds(p)
}

func (t *tx) managesPrograms(a *acting) bool {
	return t.store.ManagesPrograms(authz.Membership{Role: a.role, Custom: a.custom})
}

// NewAPIKey is a wish for a key.
type NewAPIKey struct {
	Workspace ids.Workspace
	// ServiceAccount is whose it is to be; zero for the caller's own.
	ServiceAccount ids.ServiceAccount
	DisplayName    string
	Permissions    []string
	ExpireTime     time.Time // zero for the default
	// RequestID makes the wish safe to repeat, if it is set.
	RequestID uuid.NullUUID
}

func (n NewAPIKey) digest(creator ids.User) []byte {
	data, _ := json.Marshal([]any{creator.String(), n.ServiceAccount.String(), n.DisplayName, sorted(n.Permissions), n.ExpireTime.UnixNano()})
	sum := sha256.Sum256(data)
	return sum[:]
}

// CreateAPIKey makes a key, and returns its token, which is not kept. Repeated with the
// same request id and content it returns the same key without it; once that has ended,
// there is none to return, and none is made.
//
// Errors: fault NOT_FOUND for a service account that the workspace does not have;
// PERMISSION_NOT_GRANTABLE, PERMISSION_MISSING, EMAIL_UNVERIFIED, TOO_MANY,
// SESSION_REQUIRED, REQUEST_ID_REUSED; FIELD_INVALID for the time and for what is no permission.
func (s *Store) CreateAPIKey(ctx context.Context, n NewAPIKey) (k *auth.APIKey, token string, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		token = ""
		a, err := t.lockTeam(ctx, n.Workspace)
		if err != nil {
			return err
		}
		if n.RequestID.Valid {
			if k, err = t.auth.APIKeyRequested(ctx, n.Workspace, n.RequestID.UUID); err != nil {
				return err
			}
			if k != nil {
				if !bytes.Equal(k.RequestDigest, n.digest(a.user())) {
					return ErrRequestIDReused()
				}
				return nil
			}
			if made, err := t.auth.MadeAPIKey(ctx, n.Workspace, n.RequestID.UUID); err != nil {
				return err
			} else if made {
				return errKeyEnded()
			}
		}
		k = &auth.APIKey{
			ID: ids.New[ids.APIKey](), WorkspaceID: n.Workspace, UserID: a.user(), CreatorID: a.user(),
			DisplayName: n.DisplayName, Permissions: sorted(n.Permissions), RequestID: n.RequestID, CreateTime: t.now,
		}
		if n.RequestID.Valid {
			k.RequestDigest = n.digest(a.user())
		}
		if k.ExpireTime, err = t.keyExpireTime(n.ExpireTime, t.now.Add(keyLifetime)); err != nil {
			return err
		}
		if !n.ServiceAccount.IsZero() {
			if err := t.mayManagePrograms(a); err != nil {
				return err
			}
			account, err := t.auth.ServiceAccount(ctx, n.Workspace, n.ServiceAccount)
			if err != nil {
				return err
			}
			k.UserID, k.ServiceAccountID = ids.User{}, account.ID
		}
		for i, name := range n.Permissions {
			if err := t.mayPutIntoKey(a, "permissions["+strconv.Itoa(i)+"]", name); err != nil {
				return err
			}
		}
		if err := t.holdProven(ctx, a); err != nil {
			return err
		}
		live, err := t.auth.CountLiveAPIKeys(ctx, n.Workspace, auth.KeyOwner{User: k.UserID, ServiceAccount: k.ServiceAccountID}, t.now)
		if err != nil {
			return err
		}
		if live >= maxKeys {
			return fault.New(fault.FailedPrecondition, fault.TooMany, "there are "+strconv.Itoa(maxKeys)+" keys already; revoke one first")
		}
		token = newSecretOf(k)
		if err := t.auth.InsertAPIKey(ctx, k); err != nil {
			return err
		}
		if n.RequestID.Valid {
			if err := t.auth.NoteAPIKeyRequest(ctx, n.Workspace, n.RequestID.UUID, t.now); err != nil {
				return err
			}
		}
		if err := t.record(ctx, audit.Event{
			WorkspaceID: n.Workspace, Action: "api_key.created", TargetID: k.ID.String(), Details: keyDetails(k),
		}); err != nil {
			return err
		}
		return t.mailKeyMade(ctx, k, mail.APIKeyCreated)
	})
	if err != nil {
		return nil, "", err
	}
	return k, token, nil
}

// errKeyEnded is the fault of a repeated request whose key has ended.
func errKeyEnded() error {
	return fault.New(fault.FailedPrecondition, fault.RequestIDReused,
		"request_id: the key that it made has ended; make another one with another request_id").WithField("request_id")
}

// newSecretOf gives a key a new secret, to be stored, and returns the token.
func newSecretOf(k *auth.APIKey) string {
	token := secret.NewChecked(authz.KeyPrefix)
	hash := secret.HashOf(forAPIKey, token)
	k.TokenHash, k.Hint = hash[:], token[len(token)-hintLength:]
	return token
}

func keyDetails(k *auth.APIKey) map[string]any {
	details := map[string]any{"permissions": k.Permissions, "expire_time": k.ExpireTime.Format(time.RFC3339)}
	if k.UserID.IsZero() {
		details["service_account_id"] = k.ServiceAccountID.String()
	} else {
		details["user_id"] = k.UserID.String()
	}
	return details
}

// keyExpireTime returns when a key is to end, or the other time where none is asked for.
//
// Errors: fault FIELD_INVALID.
func (t *tx) keyExpireTime(asked, other time.Time) (time.Time, error) {
	switch {
	case asked.IsZero():
		return other, nil
	case !asked.After(t.now):
		return asked, fault.Invalid("expire_time", "is over")
	case asked.Sub(t.now) > maxKeyLifetime:
		return asked, fault.Invalid("expire_time", "is more than 366 days ahead")
	}
	return asked, nil
}

// mayManagePrograms reports whether who acts decides about service accounts and
// everybody's keys.
//
// Errors: fault PERMISSION_MISSING.
func (t *tx) mayManagePrograms(a *acting) error {
	if t.managesPrograms(a) {
		return nil
	}
	return fault.New(fault.PermissionDenied, fault.PermissionMissing, "your role in the workspace lacks the permission "+managePrograms).
		WithMetadata("permission", managePrograms)
}

// mayPutIntoKey reports whether who acts may make a key that holds a permission: one
// that they hold, and that not owners alone do. The field is the request's that names
// it; "" for none, and then what has ceased to be a permission does not matter.
//
// Errors: fault PERMISSION_NOT_GRANTABLE; FIELD_INVALID for what is no permission.
func (t *tx) mayPutIntoKey(a *acting, field, name string) error {
	p, ok := t.store.options.Permissions.Permission(name)
	if !ok && field == "" {
		return nil
	}
	if !ok {
		return fault.Invalid(field, "is not a permission")
	}
	message := "you do not hold the permission " + name
	if !authz.Admin.AtLeast(p.LeastRole) {
		message = "the permission " + name + " is the owners' alone, and in no key"
	} else if a.holds(p) {
		return nil
	}
	return fault.New(fault.PermissionDenied, fault.PermissionNotGrantable, message).WithField(field).WithMetadata("permission", name)
}

// holdProven holds the user who acts, whose address must be proven: else who made an
// account with somebody else's address would keep a key to what becomes theirs. A
// service account has no address; who made it had proven theirs. Nor may they act by a
// session that has ended since the call began: what they make outlives it.
//
// Errors: fault EMAIL_UNVERIFIED, SESSION_REQUIRED.
func (t *tx) holdProven(ctx context.Context, a *acting) error {
	if a.user().IsZero() {
		return nil
	}
	if err := t.identity.HoldUser(ctx, a.user()); err != nil {
		return err
	}
	if caller := authz.SessionFrom(ctx); caller != nil {
		if err := t.holdSession(ctx, caller); err != nil {
			return err
		}
	}
	u, err := t.identity.User(ctx, a.user())
	if err != nil {
		return err
	}
	if u.Email == nil || !u.Email.Verified() {
		return errUnverified()
	}
	return nil
}

// Rotation is a wish for a new secret of a key.
type Rotation struct {
	Workspace ids.Workspace
	Key       ids.APIKey
	// Overlap is how long the old secret works on.
	Overlap    time.Duration
	ExpireTime time.Time // zero for that before
	// RequestID makes the rotation safe to repeat, if it is set.
	RequestID uuid.NullUUID
}

// RotateAPIKey gives a key a new secret, and returns its token, which is not kept.
// Repeated with the same request id it gives another secret in the place of that one.
//
// Errors: fault NOT_FOUND when the key is not live, or is neither the caller's own nor
// of a service account that they manage; PERMISSION_NOT_GRANTABLE, EMAIL_UNVERIFIED,
// SESSION_REQUIRED; FIELD_INVALID for the time.
func (s *Store) RotateAPIKey(ctx context.Context, r Rotation) (k *auth.APIKey, token string, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		a, err := t.lockTeam(ctx, r.Workspace)
		if err != nil {
			return err
		}
		if k, err = t.auth.APIKey(ctx, r.Workspace, r.Key); err != nil {
			return err
		}
		own := !k.UserID.IsZero() && k.UserID == a.user()
		if !k.LiveAt(t.now) || !own && !(k.UserID.IsZero() && t.managesPrograms(a)) {
			return fault.NotFoundFault()
		}
		for _, name := range k.Permissions {
			if err := t.mayPutIntoKey(a, "", name); err != nil {
				return err
			}
		}
		if err := t.holdProven(ctx, a); err != nil {
			return err
		}
		if r.RequestID.Valid && r.RequestID == k.RotateRequestID { // the answer was lost
			token = newSecretOf(k)
			return t.auth.RotateAPIKey(ctx, k)
		}
		k.RotateRequestID = r.RequestID
		if k.ExpireTime, err = t.keyExpireTime(r.ExpireTime, k.ExpireTime); err != nil {
			return err
		}
		k.PreviousHash, k.PreviousExpireTime = nil, time.Time{}
		if r.Overlap > 0 {
			k.PreviousHash, k.PreviousExpireTime = slices.Clone(k.TokenHash), earlier(t.now.Add(r.Overlap), k.ExpireTime)
		}
		token = newSecretOf(k)
		if err := t.auth.RotateAPIKey(ctx, k); err != nil {
			return err
		}
		details := keyDetails(k)
		if r.Overlap > 0 {
			details["previous_expire_time"] = k.PreviousExpireTime.Format(time.RFC3339)
		}
		if err := t.record(ctx, audit.Event{
			WorkspaceID: r.Workspace, Action: "api_key.rotated", TargetID: k.ID.String(), Details: details,
		}); err != nil {
			return err
		}
		return t.mailKeyMade(ctx, k, mail.APIKeyRotated)
	})
	if err != nil {
		return nil, "", err
	}
	return k, token, nil
}

// RevokeAPIKey ends a key. Whoever manages service accounts ends any, a user their own,
// and a key itself. With the last key of a service account that could make them, the
// invitations and links end that the account has made.
//
// Errors: fault NOT_FOUND.
func (s *Store) RevokeAPIKey(ctx context.Context, workspace ids.Workspace, id ids.APIKey) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		a, err := t.lockTeam(ctx, workspace)
		if err != nil {
			return err
		}
		k, err := t.auth.APIKey(ctx, workspace, id)
		if err != nil {
			return err
		}
		own := !k.UserID.IsZero() && k.UserID == a.user()
		if caller := authz.KeyFrom(ctx); caller != nil {
			own = caller.ID == id
		}
		if !own && !t.managesPrograms(a) {
			return fault.NotFoundFault()
		}
		return t.revokeAPIKey(ctx, k)
	})
}

// revokeKeyByToken ends the key that a token is, if there is one: whoever has it may.
func (s *Store) revokeKeyByToken(ctx context.Context, token string) error {
	hash := secret.HashOf(forAPIKey, token)
	seen, err := s.Auth.APIKeyOfToken(ctx, hash, s.options.Clock.Now())
	if err != nil || seen == nil {
		return s.constraints.Fault(err)
	}
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.tenant.LockWorkspace(ctx, seen.WorkspaceID); fault.Has(err, fault.Missing) {
			return nil // purged just now, with the key
		} else if err != nil {
			return err
		}
		k, err := t.auth.APIKeyOfToken(ctx, hash, t.now)
		if err != nil || k == nil {
			return err
		}
		return t.revokeAPIKey(authz.WithKey(ctx, &authz.Key{ID: k.ID, Workspace: k.WorkspaceID, User: k.UserID, ServiceAccount: k.ServiceAccountID}), k)
	})
}

// revokeAPIKey ends a key of a locked workspace.
func (t *tx) revokeAPIKey(ctx context.Context, k *auth.APIKey) error {
	if err := t.auth.DeleteAPIKey(ctx, k.ID); err != nil {
		return err
	}
	details := keyDetails(k)
	if k.UserID.IsZero() {
		if err := t.revokeGrantsOfAccount(ctx, k.WorkspaceID, k.ServiceAccountID, details); err != nil {
			return err
		}
	}
	return t.record(ctx, audit.Event{WorkspaceID: k.WorkspaceID, Action: "api_key.revoked", TargetID: k.ID.String(), Details: details})
}

// endKeys ends the keys of a member of a locked workspace, and notes how many in the
// details of the event.
func (t *tx) endKeys(ctx context.Context, m *team.Membership, details map[string]any) error {
	ended, err := t.auth.DeleteAPIKeysOf(ctx, m.UserID, m.WorkspaceID)
	if ended > 0 {
		details["revoked_api_keys"] = ended
	}
	return err
}

// revokeGrantsOfAccount revokes the invitations and links of a service account of a
// locked workspace that none of its keys could make any more, and notes them in the
// details of the event.
func (t *tx) revokeGrantsOfAccount(ctx context.Context, workspace ids.Workspace, account ids.ServiceAccount, details map[string]any) error {
	granted, err := t.team.GrantedByServiceAccount(ctx, workspace, account)
	if err != nil || len(granted) == 0 {
		return err
	}
	held, err := t.auth.ServiceAccountPermissions(ctx, account, t.now)
	if err != nil {
		return err
	}
	return t.revokeUncoverable(ctx, workspace, granted, &acting{role: authz.KeyRole, custom: held}, details)
}

// mailKeyMade tells a user that a key of theirs has a new secret. Nobody is told of a
// service account's: the log tells who made it.
func (t *tx) mailKeyMade(ctx context.Context, k *auth.APIKey, change mail.Change) error {
	if k.UserID.IsZero() {
		return nil
	}
	return t.mailSecurity(ctx, k.UserID, change, "")
}

// ListAPIKeys returns a page of the keys of a workspace that a caller may see, the
// newest first, and the next page's token: their own, or, of those who manage service
// accounts, all. A service account other than the zero one narrows that to its keys.
//
// Errors: fault PAGE_TOKEN_INVALID.
func (s *Store) ListAPIKeys(ctx context.Context, workspace ids.Workspace, account ids.ServiceAccount, page Page) ([]auth.APIKey, string, error) {
	owner := auth.KeyOwner{ServiceAccount: account}
	if m, ok := authz.MembershipFrom(ctx); !ok || !s.ManagesPrograms(m) {
		caller := authz.CallerFrom(ctx)
		switch {
		case !caller.User.IsZero():
			owner.User = caller.User // no service account's key is theirs
		case caller.ServiceAccount.IsZero() || !account.IsZero() && account != caller.ServiceAccount:
			return nil, "", nil
		default:
			owner.ServiceAccount = caller.ServiceAccount
		}
	}
	rows, next, err := s.Auth.ListAPIKeys(ctx, workspace, owner, page)
	now := s.options.Clock.Now()
	for i := range rows {
		if !now.Before(rows[i].PreviousExpireTime) {
			rows[i].PreviousExpireTime = time.Time{} // removed by and by
		}
	}
	return rows, next, s.constraints.Fault(err)
}
