package e2e

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	authzv1 "github.com/logicspike/manager/gen/go/logicspike/authz/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/server"
)

// keyCallers are the API keys that call every method, in turn. Their answers follow
// from the method's rule and from what the matrix says of people, so that a line of the
// matrix is a promise about keys, too:
//
//	robot      a service account's, of all permissions but the owners' own
//	own        the owner's, of the same: it can do what an admin can
//	demoted    the same of an admin, who is a viewer by now
//	wrong      a service account's, of all but the one that the method asks for
//	elsewhere  as robot, of another workspace
//
// and those that are over: expired, revoked, rotated, of a service account that was
// deleted, of a member who was deactivated or removed, of an account that was disabled,
// of a workspace that was deleted.
var keyCallers = []string{
	"robot", "own", "demoted", "wrong", "elsewhere",
	"expired", "revoked", "rotated", "deleted", "deactivated", "removed", "disabled", "exworkspace",
}

// keyExceptions are answers that don't follow: a key ends itself, and no other.
var keyExceptions = map[string]string{"ApiKeyService/RevokeApiKey demoted": "hidden"}

// keyAnswer is what a key gets from a method, as in the matrix.
func keyAnswer(t *testing.T, row matrixRow, callers []string, rule *authzv1.Rule, message proto.Message, key string) string {
	t.Helper()
	cell := func(caller string) string { return row.cells[slices.Index(callers, caller)] }
	workspace := rule.GetWorkspace()
	named := workspace != nil && message.ProtoReflect().Get(message.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(workspace.Field))).String() != ""
	switch {
	case rule.GetPublic() != nil:
		return cell("anon") // a key means nothing there
	case keyIsOver(key):
		return "session"
	case workspace == nil || workspace.UsersOnly || rule.RecentAuthentication || !named:
		return "no-key"
	case keyExceptions[row.name+" "+key] != "":
		return keyExceptions[row.name+" "+key]
	}
	return map[string]string{"robot": cell("admin"), "own": cell("admin"), "demoted": cell("viewer"), "wrong": "role", "elsewhere": "hidden"}[key]
}

// keyIsOver reports whether a kind of key has ended: it opens nothing.
func keyIsOver(key string) bool {
	return slices.Index(keyCallers, key) >= slices.Index(keyCallers, "expired")
}

// TestEveryMethodAnswersEveryKindOfAPIKey calls every method by every kind of key, each
// time in a world of its own; but those that can do nothing are the same ones for all
// methods.
func TestEveryMethodAnswersEveryKindOfAPIKey(t *testing.T) {
	t.Parallel()
	srv := quick(t)
	callers, rows := readMatrix(t)
	methods := methodsByName(t, srv)
	idle := map[string]*world{}
	for _, key := range keyCallers {
		idle[key] = newKeyWorld(t, srv, "", key)
		idle[key].spoilKey(key)
	}
	t.Run("lines", func(t *testing.T) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				method, request := methods[row.method()], requests[row.name]
				if method == nil || request == nil {
					t.Fatal("there is no such method, or no request for it")
				}
				rule := proto.GetExtension(method.Options(), authzv1.E_Rule).(*authzv1.Rule)
				refused := newWorld(t, srv, "owner")
				message := request(refused)
				for _, key := range keyCallers {
					want := keyAnswer(t, row, callers, rule, message, key)
					w, message := idle[key], proto.Clone(message)
					switch field := workspaceOf(message); {
					case want == "session" || want == "no-key":
						if field != nil && message.ProtoReflect().Has(field) {
							message.ProtoReflect().Set(field, protoreflect.ValueOfString(w.workspace))
						}
					case want == "hidden" && key == "elsewhere":
					default:
						w = newKeyWorld(t, srv, procedureOf(method), key)
						message = request(w)
						w.spoilKey(key)
					}
					callByKey(t, w, want, method, message, key)
				}
			})
		}
	})
	srv.CheckInvariants(t)
	checkLog(t, srv, testkit.Password)
}

// workspaceOf is the field of a message that names the workspace; nil for none.
func workspaceOf(message proto.Message) protoreflect.FieldDescriptor {
	return message.ProtoReflect().Descriptor().Fields().ByName("workspace_id")
}

func callByKey(t *testing.T, w *world, want string, method protoreflect.MethodDescriptor, message proto.Message, key string) {
	t.Helper()
	srv := w.srv
	a := callJSON(t, srv, method, w.token(), message)
	if got := a.outcome(); got != outcomes[want] {
		t.Errorf("%s: %s, want %s\n%s", key, got, outcomes[want], a.body)
		return
	}
	if want == "session" {
		if diff := cmp.Diff(callJSON(t, srv, method, "", message).comparable(), a.comparable()); diff != "" {
			t.Errorf("%s is answered otherwise than who has no session (-none +%s):\n%s", key, key, diff)
		}
	}
	if key == "elsewhere" && want == "hidden" {
		random := proto.Clone(message)
		random.ProtoReflect().Set(workspaceOf(random), protoreflect.ValueOfString(ids.New[ids.Workspace]().String()))
		if diff := cmp.Diff(callJSON(t, srv, method, w.token(), random).comparable(), a.comparable()); diff != "" {
			t.Errorf("%s can tell the workspace from one that never existed (-never +this):\n%s", key, diff)
		}
	}
}

// newKeyWorld makes a workspace, and a key that calls.
func newKeyWorld(t *testing.T, srv *testkit.Server, procedure, key string) *world {
	t.Helper()
	caller := map[string]string{"own": "owner", "demoted": "admin", "deactivated": "admin", "removed": "admin", "disabled": "admin"}[key]
	if caller == "" {
		caller = "anon"
	}
	w := newWorld(t, srv, caller)
	held := keyPermissions(t)
	if asked, ok := srv.Server.Rules().Permission(procedure); ok && key == "wrong" {
		held = slices.DeleteFunc(held, func(name string) bool { return name == asked.Name })
	}
	if w.caller != nil {
		w.key = w.apiKey(w.caller, w.workspace, "", held...)
		return w
	}
	owner := w.owner
	if key == "elsewhere" {
		owner = newPerson(t, srv)
		w.prove(owner)
	}
	w.key = w.apiKey(owner, owner.Workspace.Id, w.serviceAccount(owner), held...)
	return w
}

// keyPermissions are all that a key can hold.
func keyPermissions(t testing.TB) []string {
	t.Helper()
	all, _, err := server.Permissions()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range all.HeldBy(authz.Admin, nil) {
		names = append(names, p.Name)
	}
	return names
}

// spoilKey makes the key what its kind says, by what the product does where it can.
func (w *world) spoilKey(key string) {
	w.t.Helper()
	ctx := w.t.Context()
	id := w.key.ApiKey.Id
	switch key {
	case "demoted":
		w.sql("UPDATE team.memberships SET role = 'viewer' WHERE id = $1", uuidOf(w.t, w.membershipOf(w.caller)))
	case "expired":
		w.sql("UPDATE auth.api_keys SET expire_time = create_time WHERE id = $1", uuidOf(w.t, id))
	case "revoked":
		w.undeleted(func() {
			_, err := w.owner.APIKeys.RevokeApiKey(ctx, &authv1.RevokeApiKeyRequest{WorkspaceId: w.workspace, ApiKeyId: id})
			w.must(err)
		})
	case "rotated":
		w.undeleted(func() {
			_, err := w.owner.APIKeys.RotateApiKey(ctx, &authv1.RotateApiKeyRequest{WorkspaceId: w.workspace, ApiKeyId: id})
			w.must(err)
		})
	case "deleted":
		w.undeleted(func() {
			_, err := w.owner.ServiceAccounts.DeleteServiceAccount(ctx, &authv1.DeleteServiceAccountRequest{
				WorkspaceId: w.workspace, ServiceAccountId: w.key.ApiKey.ServiceAccountId,
			})
			w.must(err)
		})
	case "deactivated":
		w.deactivate(w.membershipOf(w.caller))
	case "removed":
		w.undeleted(func() { w.remove(w.membershipOf(w.caller)) })
	case "disabled":
		w.sql("DELETE FROM auth.sessions WHERE user_id = $1", uuidOf(w.t, w.caller.User.Id))
		w.sql("INSERT INTO auth.disablements (user_id, reason, create_time) VALUES ($1, 'test', now())", uuidOf(w.t, w.caller.User.Id))
	case "exworkspace":
		w.delete()
	}
}

// apiKey makes a key of somebody, or of a service account of theirs.
func (w *world) apiKey(p *testkit.Person, workspace, account string, permissions ...string) (res *authv1.CreateApiKeyResponse) {
	w.t.Helper()
	w.undeleted(func() {
		var err error
		res, err = p.APIKeys.CreateApiKey(w.t.Context(), &authv1.CreateApiKeyRequest{
			WorkspaceId: workspace, DisplayName: "Key", Permissions: permissions, ServiceAccountId: account,
		})
		w.must(err)
	})
	return res
}

// serviceAccount makes a service account in somebody's workspace.
func (w *world) serviceAccount(owner *testkit.Person) (id string) {
	w.t.Helper()
	w.undeleted(func() {
		res, err := owner.ServiceAccounts.CreateServiceAccount(w.t.Context(), &authv1.CreateServiceAccountRequest{
			WorkspaceId: owner.Workspace.Id, DisplayName: "Robot " + uuid.NewString(),
		})
		w.must(err)
		id = res.ServiceAccount.Id
	})
	return id
}

// ownKey returns a key of the caller, who may have it though they could not make it, if
// they are an active member of the workspace, else one of the owner.
func (w *world) ownKey() string {
	w.t.Helper()
	key := w.apiKey(w.owner, w.workspace, "", "workspace.get").ApiKey.Id
	w.sql(`UPDATE auth.api_keys SET user_id = $2, creator_id = $2
		WHERE id = $1 AND EXISTS (SELECT 1 FROM team.memberships WHERE user_id = $2 AND workspace_id = $3 AND deactivate_time IS NULL)`,
		uuidOf(w.t, key), uuidOf(w.t, w.self().User.Id), uuidOf(w.t, w.workspace))
	return key
}

// membershipOf is somebody's membership of the workspace.
func (w *world) membershipOf(p *testkit.Person) string {
	w.t.Helper()
	var id uuid.UUID
	w.must(w.srv.SQL.QueryRow(w.t.Context(), "SELECT id FROM team.memberships WHERE workspace_id = $1 AND user_id = $2",
		uuidOf(w.t, w.workspace), uuidOf(w.t, p.User.Id)).Scan(&id))
	return ids.FromUUID[ids.Membership](id).String()
}

// remove ends a membership of the workspace.
func (w *world) remove(membership string) {
	w.t.Helper()
	_, err := w.owner.Memberships.RemoveMembership(w.t.Context(), &teamv1.RemoveMembershipRequest{WorkspaceId: w.workspace, MembershipId: membership})
	w.must(err)
}
