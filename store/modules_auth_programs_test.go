package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/postgres"
)

// exercisePrograms calls what the module auth does with API keys and service accounts,
// as itself. The user owns the workspace.
func exercisePrograms(t *testing.T, e *exercise, keys auth.Keys, user ids.User, w ids.Workspace) {
	t.Helper()
	a := &auth.ServiceAccount{
		ID: ids.New[ids.ServiceAccount](), WorkspaceID: w, DisplayName: "Robot ÄÖ", Description: "Works", CreatorID: user, CreateTime: now, UpdateTime: now,
	}
	e.call("InsertServiceAccount", a)
	if a.NameKey != "robot äö" {
		t.Errorf("the name is compared as %q", a.NameKey)
	}
	e.want(a, "ServiceAccount", w, a.ID)
	e.want([]auth.ServiceAccount{*a}, "ServiceAccounts", w)
	a.DisplayName, a.Description = "Robot", ""
	e.call("UpdateServiceAccount", a, now.Add(time.Minute))
	e.want(a, "ServiceAccount", w, a.ID)

	hash, old := secret.HashOf("test", "key"), secret.HashOf("test", "key before")
	own := &auth.APIKey{
		ID: ids.New[ids.APIKey](), WorkspaceID: w, UserID: user, CreatorID: user, DisplayName: "Mine", Permissions: []string{"a.b", "c.d"},
		TokenHash: []byte{1}, Hint: "abcd", RequestID: uuid.NullUUID{UUID: uuid.New(), Valid: true}, RequestDigest: []byte{2},
		CreateTime: now, ExpireTime: now.Add(time.Hour),
	}
	robots := &auth.APIKey{
		ID: ids.New[ids.APIKey](), WorkspaceID: w, ServiceAccountID: a.ID, CreatorID: user, DisplayName: "Robot's", Permissions: []string{"c.d"},
		TokenHash: old[:], Hint: "efgh", CreateTime: now, ExpireTime: now.Add(time.Hour),
	}
	e.call("InsertAPIKey", own)
	e.call("InsertAPIKey", robots)
	e.want(own, "APIKey", w, own.ID)
	e.want(own, "APIKeyRequested", w, own.RequestID.UUID)
	e.want((*auth.APIKey)(nil), "APIKeyRequested", w, uuid.New())
	e.call("NoteAPIKeyRequest", w, own.RequestID.UUID, now)
	e.want(true, "MadeAPIKey", w, own.RequestID.UUID)
	e.want(false, "MadeAPIKey", w, uuid.New())
	e.want(false, "MadeAPIKey", ids.New[ids.Workspace](), own.RequestID.UUID)
	e.call("ForgetAPIKeyRequests", now)
	e.want(true, "MadeAPIKey", w, own.RequestID.UUID)
	e.call("ForgetAPIKeyRequests", now.Add(time.Second))
	e.want(false, "MadeAPIKey", w, own.RequestID.UUID)
	e.call("NoteAPIKeyRequest", w, own.RequestID.UUID, now)
	if _, err := e.repository.Interface().(auth.Repository).APIKey(t.Context(), ids.New[ids.Workspace](), own.ID); !fault.Has(err, fault.Missing) {
		t.Errorf("the key of another workspace: %v", err)
	}
	robots.PreviousHash, robots.PreviousExpireTime, robots.TokenHash, robots.ExpireTime = old[:], now.Add(time.Minute), hash[:], now.Add(2*time.Hour)
	e.call("RotateAPIKey", robots)
	e.want(robots, "APIKey", w, robots.ID)
	e.want(robots, "APIKeyOfToken", hash, now)
	e.want(robots, "APIKeyOfToken", old, now)
	e.want((*auth.APIKey)(nil), "APIKeyOfToken", old, now.Add(time.Minute))
	e.want((*auth.APIKey)(nil), "APIKeyOfToken", hash, now.Add(2*time.Hour))
	e.want(1, "CountLiveAPIKeys", w, auth.KeyOwner{User: user}, now)
	e.want(1, "CountLiveAPIKeys", w, auth.KeyOwner{ServiceAccount: a.ID}, now)
	e.want(1, "CountLiveAPIKeys", w, auth.KeyOwner{}, now.Add(time.Hour))
	e.want(1, "CountAPIKeysOf", user, now)
	e.want(0, "CountAPIKeysOf", user, now.Add(time.Hour))
	e.want([]string{"c.d"}, "ServiceAccountPermissions", a.ID, now)
	e.want([]auth.APIKey{*robots, *own}, "ListAPIKeys", w, auth.KeyOwner{}, postgres.Page{})
	e.want([]auth.APIKey{*own}, "ListAPIKeys", w, auth.KeyOwner{User: user}, postgres.Page{})
	e.want([]auth.APIKey{*robots}, "ListAPIKeys", w, auth.KeyOwner{ServiceAccount: a.ID}, postgres.Page{})
	if got := e.call("CountPrograms", w, now); !cmp.Equal(got, []any{2, 1}) {
		t.Errorf("CountPrograms = %v", got)
	}

	f := newExercise(t, keys)
	find := func(token secret.Hash, at time.Time) *auth.FoundKey {
		return f.call("Find", token, at)[0].(*auth.FoundKey)
	}
	for at, want := range map[time.Time][2]bool{
		now: {true, true}, now.Add(time.Minute): {true, false}, now.Add(2 * time.Hour): {false, false},
	} {
		for i, token := range []secret.Hash{hash, old} {
			found := find(token, at)
			if (found != nil) != want[i] {
				t.Errorf("after %v secret %d: %+v", at.Sub(now), i, found)
			}
			if end := []time.Time{robots.ExpireTime, robots.PreviousExpireTime}[i]; found != nil && !found.ExpireTime.Equal(end) {
				t.Errorf("secret %d ends at %v, want %v", i, found.ExpireTime, end)
			}
			if found != nil && (found.ID != robots.ID || found.ServiceAccount != a.ID || !found.User.IsZero() || found.Workspace != w ||
				found.Hash != token || !found.EmailVerified || !cmp.Equal(found.Permissions, robots.Permissions)) {
				t.Errorf("Find = %+v", found)
			}
		}
	}
	own.TokenHash, own.PreviousHash = old[:], nil
	robots.PreviousHash, robots.PreviousExpireTime = nil, time.Time{}
	e.call("RotateAPIKey", robots)
	e.call("RotateAPIKey", own)
	if found := find(old, now); found == nil || found.User != user || found.Role != authz.Owner || !found.LastUseTime.IsZero() {
		t.Errorf("Find = %+v", found)
	}
	f.call("Touch", own.ID, now.Add(time.Minute))
	f.call("Touch", own.ID, now)
	if found := find(old, now); found == nil || !found.LastUseTime.Equal(now.Add(time.Minute)) {
		t.Errorf("Find = %+v", found)
	}
	f.finish()

	e.want(1, "DeleteAPIKeysOf", user, w)
	e.want(0, "DeleteAPIKeysOf", user, ids.Workspace{})
	e.call("DeleteExpiredAPIKeys", now, now)
	e.want(robots, "APIKey", w, robots.ID)
	e.call("DeleteAPIKey", robots.ID)
	e.call("InsertAPIKey", robots)
	e.want(1, "DeleteServiceAccount", a.ID)
	e.call("InsertServiceAccount", a)
	e.call("InsertAPIKey", robots)
	e.call("DeleteProgramsOf", w)
	e.want([]auth.ServiceAccount(nil), "ServiceAccounts", w)

	// What is left when its creator is deleted, after this.
	e.call("InsertServiceAccount", a)
	e.call("InsertAPIKey", robots)
}
