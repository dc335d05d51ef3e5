package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/testkit"
)

func TestARotatedKeyWorksOnForItsOverlap(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	two := replica(t, s.Server)
	w := owner.Workspace.Id
	made := keyOf(t, owner, "workspace.get")
	id := made.ApiKey.Id
	tokens := []string{made.Token}
	check := func(what string, want ...bool) {
		t.Helper()
		for i, token := range tokens {
			got := reads(t, two, token, w)
			if (got == "") != want[i] || got != "" && got != "SESSION_REQUIRED" {
				t.Errorf("%s: secret %d: %q", what, i, got)
			}
		}
	}
	rotate := func(overlap time.Duration) *authv1.ApiKey {
		t.Helper()
		res, err := rotateKey(t, owner.Client, w, id, overlap)
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, res.Token)
		if res.ApiKey.Id != id || res.ApiKey.Hint != res.Token[len(res.Token)-4:] || (res.ApiKey.PreviousExpireTime != nil) != (overlap > 0) {
			t.Errorf("RotateApiKey = %v", res)
		}
		return res.ApiKey
	}
	rotate(time.Hour)
	check("within the overlap", true, true)
	if list := s.queue(t, owner.Email); list[0].Data["change"] != string(mail.APIKeyRotated) {
		t.Errorf("the owner was mailed %v", list[0])
	}
	s.Clock.Advance(time.Hour - time.Second)
	check("at the end of the overlap", true, true)
	s.Clock.Advance(2 * time.Second)
	check("after the overlap", false, true)
	s.SignIn(t, owner)
	if res, err := owner.APIKeys.ListApiKeys(t.Context(), &authv1.ListApiKeysRequest{WorkspaceId: w}); err != nil || res.ApiKeys[0].PreviousExpireTime != nil {
		t.Errorf("after the overlap: %v, %v", res, err)
	}
	rotate(time.Hour)
	rotate(time.Hour)
	check("rotated twice, of which one overlaps", false, false, true, true)
	rotate(0)
	check("rotated without an overlap", false, false, false, false, true)
	end := s.Clock.Now().Add(time.Minute).Truncate(time.Microsecond)
	res, err := owner.APIKeys.RotateApiKey(t.Context(), &authv1.RotateApiKeyRequest{
		WorkspaceId: w, ApiKeyId: id, OverlapSeconds: 3600, ExpireTime: timestamppb.New(end),
	})
	if err != nil || !res.ApiKey.ExpireTime.AsTime().Equal(end) || !res.ApiKey.PreviousExpireTime.AsTime().Equal(end) {
		t.Fatalf("RotateApiKey = %v, %v", res, err)
	}
	tokens = append(tokens, res.Token)
	check("with another end", false, false, false, false, true, true)
	// An answer that is lost costs the secret in use nothing.
	lost := &authv1.RotateApiKeyRequest{WorkspaceId: w, ApiKeyId: id, OverlapSeconds: 20, RequestId: uuid.NewString()}
	for range 3 {
		res, err := owner.APIKeys.RotateApiKey(t.Context(), lost)
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, res.Token)
	}
	check("rotated by a call that is repeated", false, false, false, false, false, true, false, false, true)
	s.Clock.Advance(21 * time.Second)
	check("after its overlap", false, false, false, false, false, false, false, false, true)
	tokens = tokens[:6]
	s.Clock.Advance(2 * time.Minute)
	check("after its end", false, false, false, false, false, false)
	_, err = owner.APIKeys.RotateApiKey(t.Context(), &authv1.RotateApiKeyRequest{WorkspaceId: w, ApiKeyId: id, ExpireTime: timestamppb.New(end.Add(time.Hour))})
	because(t, "to revive it", err, "NOT_FOUND")
	s.CheckInvariants(t)
}

func TestOfTwentyRotationsAtOnceTheLastOneCounts(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	w := owner.Workspace.Id
	made := keyOf(t, owner, "workspace.get")
	tokens := make([]string, 20)
	var all sync.WaitGroup
	for i := range tokens {
		all.Go(func() {
			res, err := rotateKey(t, owner.Client, w, made.ApiKey.Id, 0)
			if err != nil {
				t.Error(err)
				return
			}
			tokens[i] = res.Token
		})
	}
	all.Wait()
	var works []string
	for _, token := range append(tokens, made.Token) {
		if reads(t, s.Server, token, w) == "" {
			works = append(works, token)
		}
	}
	list, err := owner.APIKeys.ListApiKeys(t.Context(), &authv1.ListApiKeysRequest{WorkspaceId: w})
	if err != nil || len(works) != 1 || !strings.HasSuffix(works[0], list.ApiKeys[0].Hint) {
		t.Errorf("%d secrets work, of the key %v (%v)", len(works), list, err)
	}
	if n := count(t, s.Server, "SELECT count(*) FROM audit.events WHERE action = 'api_key.rotated'"); n != len(tokens) {
		t.Errorf("%d events", n)
	}
}

func TestAKeyIsMadeOnceForARequestID(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	admin := s.member(t, owner, "admin")
	request := func() *authv1.CreateApiKeyRequest {
		return &authv1.CreateApiKeyRequest{
			WorkspaceId: owner.Workspace.Id, DisplayName: "Key", Permissions: []string{"workspace.get", "role.list"}, RequestId: uuid.NewString(),
		}
	}
	req := request()
	var mu sync.Mutex
	var tokens []string
	found := map[string]bool{}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			res, err := owner.APIKeys.CreateApiKey(t.Context(), req)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			found[res.ApiKey.Id] = true
			if res.Token != "" {
				tokens = append(tokens, res.Token)
			}
		})
	}
	all.Wait()
	if len(found) != 1 || len(tokens) != 1 || reads(t, s.Server, tokens[0], owner.Workspace.Id) != "" {
		t.Errorf("%d keys were made, and shown %d times", len(found), len(tokens))
	}
	for what, change := range map[string]func(*authv1.CreateApiKeyRequest){
		"another name":        func(r *authv1.CreateApiKeyRequest) { r.DisplayName = "Other" },
		"other permissions":   func(r *authv1.CreateApiKeyRequest) { r.Permissions = []string{"workspace.get"} },
		"another end":         func(r *authv1.CreateApiKeyRequest) { r.ExpireTime = timestamppb.New(s.Clock.Now().Add(time.Hour)) },
		"a service account's": func(r *authv1.CreateApiKeyRequest) { r.ServiceAccountId = serviceAccountOf(t, owner, "Robot") },
	} {
		other := request()
		other.RequestId = req.RequestId
		change(other)
		_, err := owner.APIKeys.CreateApiKey(t.Context(), other)
		if reasonOf(err) != "REQUEST_ID_REUSED" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := admin.APIKeys.CreateApiKey(t.Context(), req); reasonOf(err) != "REQUEST_ID_REUSED" {
		t.Errorf("by somebody else: %v", err)
	}
	if n := count(t, s.Server, "SELECT count(*) FROM audit.events WHERE action = 'api_key.created'"); n != 1 {
		t.Errorf("%d events", n)
	}
}

// TestARepeatedRequestMakesNoKeyInThePlaceOfOneThatEnded repeats requests whose keys
// have ended, in every way in which one does.
func TestARepeatedRequestMakesNoKeyInThePlaceOfOneThatEnded(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	member := s.member(t, owner, "member")
	w, robot := owner.Workspace.Id, serviceAccountOf(t, owner, "Robot")
	create := func(p *testkit.Person, account, request string) (*authv1.CreateApiKeyResponse, error) {
		return p.APIKeys.CreateApiKey(t.Context(), &authv1.CreateApiKeyRequest{
			WorkspaceId: w, DisplayName: "Key", Permissions: []string{"workspace.get"}, ServiceAccountId: account, RequestId: request,
		})
	}
	made := 0
	for what, c := range map[string]struct {
		by      *testkit.Person
		account string
		end     func(key *authv1.CreateApiKeyResponse) error
	}{
		"revoked": {by: owner, end: func(key *authv1.CreateApiKeyResponse) error {
			return revokeKey(t, owner.Client, w, key.ApiKey.Id)
		}},
		"revoked by its secret": {by: owner, end: func(key *authv1.CreateApiKeyResponse) error {
			_, err := s.Client("").Tokens.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Token: key.Token})
			return err
		}},
		"of a member who was deactivated": {by: member, end: func(*authv1.CreateApiKeyResponse) error {
			id := member.Membership.Id
			if _, err := owner.Memberships.DeactivateMembership(t.Context(), &teamv1.DeactivateMembershipRequest{WorkspaceId: w, MembershipId: id}); err != nil {
				return err
			}
			_, err := owner.Memberships.ReactivateMembership(t.Context(), &teamv1.ReactivateMembershipRequest{WorkspaceId: w, MembershipId: id})
			return err
		}},
		"of a service account that was deleted": {by: owner, account: robot, end: func(*authv1.CreateApiKeyResponse) error {
			_, err := owner.ServiceAccounts.DeleteServiceAccount(t.Context(), &authv1.DeleteServiceAccountRequest{WorkspaceId: w, ServiceAccountId: robot})
			return err
		}},
	} {
		request := uuid.NewString()
		key, err := create(c.by, c.account, request)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		made++
		if again, err := create(c.by, c.account, request); err != nil || again.ApiKey.Id != key.ApiKey.Id || again.Token != "" {
			t.Errorf("%s: repeated before: %v, %v", what, again, err)
		}
		if err := c.end(key); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for _, after := range []time.Duration{0, 24*time.Hour - time.Minute} {
			s.Clock.Advance(after)
			if err := s.Store.DeleteExpired(t.Context()); err != nil {
				t.Fatal(err)
			}
			*owner.Client, *member.Client = *signIn(t, s.Server, owner.Email, testkit.Password), *signIn(t, s.Server, member.Email, testkit.Password)
			_, err := create(c.by, c.account, request)
			refused(t, what, err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_REQUEST_ID_REUSED)
		}
		if c.account == "" { // another request is another key
			if _, err := create(c.by, "", uuid.NewString()); err != nil {
				t.Errorf("%s: by another request: %v", what, err)
			}
			made++
		}
	}
	if n := count(t, s.Server, "SELECT count(*) FROM audit.events WHERE action = 'api_key.created'"); n != made {
		t.Errorf("%d keys were made, want %d", n, made)
	}
	s.Clock.Advance(48 * time.Hour)
	if err := s.Store.DeleteExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s.Server, "SELECT count(*) FROM auth.api_key_requests"); n != 0 {
		t.Errorf("%d requests are kept", n)
	}
	s.CheckInvariants(t)
}

// TestRepeatedRequestsAreOneKeyThoughItIsRevokedMeanwhile revokes a key as soon as it is
// seen, while its request is repeated at once many times.
func TestRepeatedRequestsAreOneKeyThoughItIsRevokedMeanwhile(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	w := owner.Workspace.Id
	for range 5 {
		req := &authv1.CreateApiKeyRequest{WorkspaceId: w, DisplayName: "Key", Permissions: []string{"workspace.get"}, RequestId: uuid.NewString()}
		var mu sync.Mutex
		keys, shown, refusals := map[string]bool{}, 0, 0
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 3 {
					res, err := owner.APIKeys.CreateApiKey(t.Context(), req)
					mu.Lock()
					switch {
					case err == nil:
						keys[res.ApiKey.Id] = true
						if res.Token != "" {
							shown++
						}
					case reasonOf(err) == "REQUEST_ID_REUSED":
						refusals++
					default:
						t.Error(err)
					}
					mu.Unlock()
					if err == nil {
						if err := revokeKey(t, owner.Client, w, res.ApiKey.Id); err != nil && reasonOf(err) != "NOT_FOUND" {
							t.Error(err)
						}
					}
				}
			})
		}
		all.Wait()
		if len(keys) != 1 || shown != 1 || refusals == 0 {
			t.Errorf("%d keys were made, shown %d times; %d calls were refused", len(keys), shown, refusals)
		}
	}
	if n := count(t, s.Server, "SELECT count(*) FROM audit.events WHERE action = 'api_key.created'"); n != 5 {
		t.Errorf("%d keys were made", n)
	}
	if left := keysOf(t, owner.Client, w, ""); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
}

func TestKeysAndServiceAccountsAreLimitedAndListedByPages(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	ctx, w := t.Context(), owner.Workspace.Id
	var made []string
	for range 100 {
		made = append(made, keyOf(t, owner, "workspace.get").ApiKey.Id)
	}
	slices.Reverse(made)
	_, err := owner.APIKeys.CreateApiKey(ctx, &authv1.CreateApiKeyRequest{WorkspaceId: w, DisplayName: "Key", Permissions: []string{"workspace.get"}})
	because(t, "one key more", err, "TOO_MANY")
	var listed []string
	token := ""
	for pages := 0; pages == 0 || token != ""; pages++ {
		res, err := owner.APIKeys.ListApiKeys(ctx, &authv1.ListApiKeysRequest{WorkspaceId: w, PageSize: 33, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range res.ApiKeys {
			listed = append(listed, k.Id)
		}
		token = res.NextPageToken
		if pages == 0 {
			_, err := s.member(t, owner, "viewer").APIKeys.ListApiKeys(ctx, &authv1.ListApiKeysRequest{WorkspaceId: w, PageToken: token})
			if reasonOf(err) != "PAGE_TOKEN_INVALID" {
				t.Errorf("a page of another list: %v", err)
			}
		}
	}
	if !slices.Equal(listed, made) {
		t.Errorf("listed %d keys, of %d", len(listed), len(made))
	}
	if got := keysOf(t, s.member(t, owner, "viewer").Client, w, ""); got != nil {
		t.Errorf("a viewer sees %v", got)
	}
	if err := revokeKey(t, owner.Client, w, made[0]); err != nil {
		t.Fatal(err)
	}
	keyOf(t, owner, "workspace.get")
	robot := serviceAccountOf(t, owner, "Robot 0")
	keyOfAccount(t, owner, robot, "workspace.get") // has a limit of its own
	for i := range 99 {
		serviceAccountOf(t, owner, fmt.Sprint("Robot ", i+1))
	}
	_, err = owner.ServiceAccounts.CreateServiceAccount(ctx, &authv1.CreateServiceAccountRequest{WorkspaceId: w, DisplayName: "Robot 100"})
	because(t, "one service account more", err, "TOO_MANY")
	if p := preview(t, owner, w); p.ApiKeyCount != 101 || p.ServiceAccountCount != 100 {
		t.Errorf("the preview counts %d keys and %d service accounts", p.ApiKeyCount, p.ServiceAccountCount)
	}
	s.CheckInvariants(t)
}
