package rpc

import (
	"testing"

	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
)

// TestNoKeyCallsWhatIsForUsersOnly is about each part of a rule that keeps keys away,
// alone.
func TestNoKeyCallsWhatIsForUsersOnly(t *testing.T) {
	key := &authz.Key{ID: ids.New[ids.APIKey](), Workspace: ids.New[ids.Workspace](), Permissions: []string{"a.b"}}
	own := &tenantv1.GetWorkspaceRequest{WorkspaceId: key.Workspace.String()}
	for name, c := range map[string]struct {
		change func(*method)
		none   bool // the request names no workspace
		want   fault.Reason
	}{
		"what it may":                 {func(*method) {}, false, ""},
		"for users only":              {func(m *method) { m.usersOnly = true }, false, fault.APIKeyNotAllowed},
		"after a recent sign-in":      {func(m *method) { m.recent = true }, false, fault.APIKeyNotAllowed},
		"of any signed-in user":       {func(m *method) { m.caller = authenticated }, false, fault.APIKeyNotAllowed},
		"of operators":                {func(m *method) { m.caller = operator }, false, fault.APIKeyNotAllowed},
		"of an optional workspace":    {func(m *method) { m.optional = true }, false, ""},
		"of no workspace":             {func(m *method) { m.optional = true }, true, fault.APIKeyNotAllowed},
		"of a workspace not named":    {func(*method) {}, true, fault.FieldInvalid},
		"of a deleted workspace, too": {func(m *method) { m.allowDeleted = true }, false, ""},
		"another permission":          {func(m *method) { m.permission = &authz.Permission{Name: "c.d", LeastRole: authz.Viewer} }, false, fault.PermissionMissing},
		"an owner's permission":       {func(m *method) { m.permission = &authz.Permission{Name: "a.b", LeastRole: authz.Owner} }, false, fault.PermissionMissing},
	} {
		m := &method{
			caller: member, request: own.ProtoReflect().Descriptor(), field: own.ProtoReflect().Descriptor().Fields().ByName("workspace_id"),
			permission: &authz.Permission{Name: "a.b", LeastRole: authz.Admin},
		}
		c.change(m)
		request := own
		if c.none {
			request = &tenantv1.GetWorkspaceRequest{}
		}
		ctx, err := new(Stack).authorizeKey(t.Context(), m, key, request)
		if f := fault.As(err); (f == nil) != (c.want == "") || f != nil && f.Reason != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if held, ok := authz.MembershipFrom(ctx); ok != (c.want == "") || ok && held.Permission != *m.permission {
			t.Errorf("%s: the call has the membership %v (%t)", name, held, ok)
		}
	}
}
