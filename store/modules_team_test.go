package store_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
	"github.com/logicspike/manager/store/team"
)

// teamWorld is what the parts of the test of the schema team share: two users, each
// with a workspace of their own, the second one of whom is a member of the first
// one's, too.
type teamWorld struct {
	*exercise
	module
	repository team.Repository
	tx         bun.Tx
	owner      ids.User
	w          ids.Workspace // the owner's
	user       ids.User
	own        ids.Workspace    // the user's
	member     *team.Membership // the user's of w
}

func TestTeamNeedsItsOwnSchemaOnly(t *testing.T) {
	t.Parallel()
	w := &teamWorld{module: asModule(t, "team")}
	w.owner, w.w = w.seed(t, "owner@example.com")
	w.user, w.own = w.seed(t, "user@example.com")
	tx, err := w.Bun.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.tx, w.repository = tx, team.New(tx, postgres.NewPager(secret.NewKey()))
	w.exercise = newExercise(t, w.repository)

	w.members()
	w.lists()
	w.deletions()
	w.roles()
	w.invitations()
	w.links()
	w.grants()
	w.programs()
	w.joinRequests()
	w.departures()
	w.ends()
	w.finish()
	// What the database promises of all modules holds for the role, too.
	if err := tx.Commit(); postgres.Constraint(err) != "workspace_has_owner" {
		t.Errorf("two workspaces without an owner are committed: %v", err)
	}
}

// inTurn checks a list of ids or states against what is wanted.
func inTurn[T any](t *testing.T, what string, got []T, want ...T) {
	t.Helper()
	if diff := cmp.Diff(want, got, everything); diff != "" && len(want)+len(got) > 0 {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// users are those of memberships.
func users(list any) []ids.User {
	var found []ids.User
	for _, m := range list.([]team.Membership) {
		found = append(found, m.UserID)
	}
	return found
}

// refused checks that statements break a rule of the database, and undoes them.
func (w *teamWorld) refused(what, constraint string, do func() error) {
	w.t.Helper()
	w.run("SAVEPOINT here")
	if err := do(); postgres.Constraint(err) != constraint {
		w.t.Errorf("%s: %v, want %s", what, err, constraint)
	}
	w.run("ROLLBACK TO here")
}

func (w *teamWorld) run(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.tx.ExecContext(w.t.Context(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// badToken checks that a page's token is of no use for another list.
func (w *teamWorld) badToken(what string, list func(context.Context, postgres.Page) error, token string) {
	w.t.Helper()
	if err := list(w.t.Context(), postgres.Page{Token: token}); !fault.Has(err, fault.PageTokenInvalid) {
		w.t.Errorf("%s: %v, want %s", what, err, fault.PageTokenInvalid)
	}
}

func (w *teamWorld) members() {
	w.member = &team.Membership{
		ID: ids.New[ids.Membership](), WorkspaceID: w.w, UserID: w.user, Role: authz.Member, Version: 1, CreateTime: now, UpdateTime: now,
		DisplayName: "Ann", Address: "user@example.com", AddressKey: "user@example.com",
	}
	w.call("Insert", w.member)
	w.want(w.member, "Membership", w.w, w.member.ID)
	w.want(w.member, "MembershipOf", w.w, w.user)
	w.refused("the same membership again", "memberships_once", func() error {
		again := *w.member
		again.ID = ids.New[ids.Membership]()
		return w.repository.Insert(w.t.Context(), &again)
	})
	for what, err := range map[string]error{
		"a membership of another workspace": func() error { _, err := w.repository.Membership(w.t.Context(), w.own, w.member.ID); return err }(),
		"a membership of a stranger":        func() error { _, err := w.repository.MembershipOf(w.t.Context(), w.own, w.owner); return err }(),
	} {
		if !fault.Has(err, fault.Missing) {
			w.t.Errorf("%s: %v", what, err)
		}
	}
	later := now.Add(time.Minute)
	w.call("SetRole", w.member, authz.Admin, later)
	if w.member.Role != authz.Admin || w.member.Version != 2 || !w.member.UpdateTime.Equal(later) {
		w.t.Errorf("SetRole left %+v", w.member)
	}
	w.want(w.member, "MembershipOf", w.w, w.user)
	w.call("Deactivate", w.member, later)
	if w.member.Active() || w.member.Version != 3 {
		w.t.Errorf("Deactivate left %+v", w.member)
	}
	w.want(w.member, "MembershipOf", w.w, w.user)
	inTurn(w.t, "the active owners", users(w.call("Owners", w.w)[0]), w.owner)
	w.call("Reactivate", w.member, later)
	if !w.member.Active() || w.member.Version != 4 {
		w.t.Errorf("Reactivate left %+v", w.member)
	}
	w.want(w.member, "MembershipOf", w.w, w.user)

	w.want(map[string]bool{"owner@example.com": true, "user@example.com": true},
		"MembersAt", w.w, []string{"nobody@example.com", "user@example.com", "owner@example.com"})
	w.want(map[string]bool{}, "MembersAt", w.own, []string{"owner@example.com"})
	w.want(map[string]bool{}, "MembersAt", w.w, []string{})

	for _, test := range []struct {
		workspaces []ids.Workspace
		want       int
	}{{[]ids.Workspace{w.w, w.own, ids.New[ids.Workspace]()}, 2}, {[]ids.Workspace{w.w}, 1}, {nil, 0}} {
		if list := w.call("Memberships", w.user, test.workspaces)[0].([]team.Membership); len(list) != test.want {
			w.t.Errorf("Memberships of %v: %v", test.workspaces, list)
		}
	}
}

func (w *teamWorld) lists() {
	third, _ := w.seed(w.t, "third@example.com")
	fourth, _ := w.seed(w.t, "fourth@example.com")
	var memberships []*team.Membership
	for i, u := range []ids.User{third, fourth} {
		m := &team.Membership{
			ID: ids.New[ids.Membership](), WorkspaceID: w.w, UserID: u, Role: authz.Viewer, Version: 1, CreateTime: now, UpdateTime: now,
			DisplayName: `Back\Slash 100% :*`, AddressKey: fmt.Sprintf("%c@other.example", 'c'+i),
		}
		w.call("Insert", m)
		memberships = append(memberships, m)
	}
	w.call("Describe", w.owner, "Zoë Ólafsdóttir", "owner@example.com")
	w.call("Describe", w.user, "Ann O'Brien-Smith", "ann.b@sub.example.com")
	w.call("Deactivate", memberships[1], now)
	w.want(map[string]bool{"ann.b@sub.example.com": true}, "MembersAt", w.w, []string{"user@example.com", "ann.b@sub.example.com"})
	names := map[ids.User]string{w.owner: "owner", w.user: "user", third: "third", fourth: "fourth"}
	list := func(f team.Filter, page postgres.Page) (string, string) {
		w.t.Helper()
		out := w.call("List", w.w, f, page)
		var found []string
		for _, u := range users(out[0]) {
			found = append(found, names[u])
		}
		return strings.Join(found, " "), out[1].(string)
	}
	all := "owner user third fourth"
	for _, test := range []struct {
		filter team.Filter
		want   string
	}{
		{team.Filter{}, all},
		{team.Filter{Order: team.OldestFirst}, all},
		{team.Filter{Order: team.NewestFirst}, "fourth third user owner"},
		{team.Filter{Order: team.ByName}, "user third fourth owner"}, // two of whom have one name
		{team.Filter{Order: team.ByAddress}, "user third fourth owner"},
		{team.Filter{Role: authz.Viewer}, "third fourth"},
		{team.Filter{Role: authz.Viewer, Order: team.NewestFirst}, "fourth third"},
		{team.Filter{Role: authz.Member}, ""},
		{team.Filter{State: team.Active}, "owner user third"},
		{team.Filter{State: team.Active, Order: team.ByName}, "user third owner"},
		{team.Filter{State: team.Deactivated}, "fourth"},
		{team.Filter{State: team.Deactivated, Role: authz.Viewer, Search: "back", Order: team.ByAddress}, "fourth"},
		{team.Filter{State: team.Deactivated, Role: authz.Owner}, ""},
		{team.Filter{Search: "example", Order: team.NewestFirst}, "owner"},
	} {
		if got, _ := list(test.filter, postgres.Page{}); got != test.want {
			w.t.Errorf("List %+v: %q, want %q", test.filter, got, test.want)
		}
		var pages []string
		for token, more := "", true; more; more = token != "" {
			var one string
			if one, token = list(test.filter, postgres.Page{Size: 1, Token: token}); one != "" || token != "" {
				pages = append(pages, one)
			}
		}
		if got := strings.Join(pages, " "); got != test.want {
			w.t.Errorf("List %+v, page by page: %q, want %q", test.filter, got, test.want)
		}
	}
	for search, want := range map[string]string{
		"": all, " \t ": all,
		"zoe": "owner", "ZOË": "owner", "zoë": "owner", "zoé": "owner", "ólafs": "owner", "OLAFSDOTTIR": "owner", "dottir": "",
		"olafsdottir zoe": "owner", "zoe ann": "", "olaf owner@": "owner",
		"o'brien": "user", "o'brien-smith": "user", "o'": "user", "brien": "user", "smith ann": "user", "o’brien": "",
		"ann.b@": "user", "sub.example": "user", "b": "user third fourth", "ann.": "user",
		"example.com": "owner", "other.example": "third fourth", "d@other": "fourth", "example.org": "",
		`back\`: "third fourth", `BACK\sl`: "third fourth", `slash`: "third fourth", `back\\slash`: "", `\`: "", `\\`: "", `back\'`: "",
		"100%": "third fourth", "100": "third fourth", "%": "", "_": "", "1_0": "", "z%": "",
		":*": "third fourth", ":": "third fourth", "*": "", "zoe:*": "", "':*": "", "zo':*": "", "'zoe'": "",
		"'": "", "''": "", "o''brien": "", `'\''`: "", "ann & zoe": "", "ann | zoe": "", "!zoe": "", "ann <-> o": "", "(ann)": "",
		"') OR true --": "", "?": "", "$1": "", "?0": "", "ann ?": "",
		strings.Repeat("㌖", 100): "", strings.Repeat("a", 100): "",
	} {
		if got, _ := list(team.Filter{Search: search}, postgres.Page{}); got != want {
			w.t.Errorf("searched for %q: %q, want %q", search, got, want)
		}
	}
	// The longest name there can be, of characters that fold into six, is kept and found.
	w.call("Describe", third, strings.Repeat("㌖", 100), "c@other.example")
	if got, _ := list(team.Filter{Search: strings.Repeat("㌖", 100)}, postgres.Page{}); got != "third" {
		w.t.Errorf("searched for the longest name: %q", got)
	}
	// Of another workspace the same words find its own member alone.
	if out := w.call("List", w.own, team.Filter{Search: "o'brien"}, postgres.Page{}); !slices.Equal(users(out[0]), []ids.User{w.user}) {
		w.t.Errorf("searched in another workspace: %v", users(out[0]))
	}

	_, token := list(team.Filter{}, postgres.Page{Size: 1})
	if token == "" {
		w.t.Fatal("a page of one of four has no next page")
	}
	for what, f := range map[string]team.Filter{
		"another role": {Role: authz.Viewer}, "another state": {State: team.Active}, "another search": {Search: "a"}, "another order": {Order: team.ByName},
	} {
		w.badToken("a page's token with "+what, func(ctx context.Context, p postgres.Page) error {
			_, _, err := w.repository.List(ctx, w.w, f, p)
			return err
		}, token)
	}
	w.badToken("a page's token in another workspace", func(ctx context.Context, p postgres.Page) error {
		_, _, err := w.repository.List(ctx, w.own, team.Filter{}, p)
		return err
	}, token)

	for _, m := range memberships {
		w.call("Delete", m.ID)
	}
	if got, _ := list(team.Filter{}, postgres.Page{}); got != "owner user" {
		w.t.Errorf("after Delete: %q", got)
	}
}

func (w *teamWorld) deletions() {
	inTurn(w.t, "First", users(w.call("First", w.w, 10)[0]), w.owner, w.user)
	inTurn(w.t, "First, one", users(w.call("First", w.w, 1)[0]), w.owner)
	inTurn(w.t, "FirstMembers who would be deleted", users(w.call("FirstMembers", w.w, true, 10)[0]), w.owner)
	inTurn(w.t, "FirstMembers who would not", users(w.call("FirstMembers", w.w, false, 10)[0]), w.user)
	if got := append(users(w.call("OfUser", w.user)[0]), users(w.call("ListOfUser", w.user, true, now, postgres.Page{})[0])...); len(got) != 4 {
		w.t.Errorf("the memberships of one user, twice: %v", got)
	}
	w.call("Deactivate", w.member, now)
	if got := w.call("ListOfUser", w.user, false, now, postgres.Page{})[0].([]team.Membership); len(got) != 1 || got[0].WorkspaceID != w.own {
		w.t.Errorf("ListOfUser of somebody deactivated elsewhere: %v", got)
	}
	inTurn(w.t, "AloneIn of the only active one", w.call("AloneIn", w.owner)[0].([]ids.Workspace), w.w)
	w.call("Reactivate", w.member, now)
	inTurn(w.t, "AloneIn of one of two", w.call("AloneIn", w.owner)[0].([]ids.Workspace))
	d := w.call("Deletion", w.w)[0].(team.Deletion)
	if d.Memberships != 2 || d.DeletedUsers != 1 || d.RemainingUsers != 1 || d.ETag == "" {
		w.t.Errorf("Deletion = %+v", d)
	}
	if members := w.call("Members", w.w)[0].([]ids.User); len(members) != 2 {
		w.t.Errorf("Members = %v", members)
	}
	w.want([]ids.User{w.owner}, "SoleMembers", w.w)
	w.want([]team.SoleOwned{{WorkspaceID: w.w, WorkspaceName: "Acme", OtherMembers: 1}}, "SoleOwnedBy", w.owner)
	w.want([]ids.Workspace{w.own}, "AloneIn", w.user)
}

func (w *teamWorld) role(workspace ids.Workspace, name string, permissions ...string) *team.Role {
	w.t.Helper()
	r := &team.Role{
		WorkspaceID: workspace, ID: authz.Role(ids.New[ids.Role]().String()), Name: name, Description: "of the test", Permissions: permissions,
		Version: 1, CreateTime: now, UpdateTime: now,
	}
	w.call("InsertRole", r)
	return r
}

func (w *teamWorld) roles() {
	reader := w.role(w.w, "Reader", "a.get", "b.get")
	first := w.role(w.w, "Ännchen's", "a.get")
	none := w.role(w.w, "Nothing", []string{}...)
	elsewhere := w.role(w.own, "READER", []string{}...)
	w.want(reader, "Role", w.w, reader.ID)
	w.want([]string{"a.get", "b.get"}, "Permissions", w.w, reader.ID)
	w.want([]string(nil), "Permissions", w.w, authz.Admin)
	if got := w.call("Permissions", w.w, none.ID)[0].([]string); len(got) != 0 {
		w.t.Errorf("a role of nothing has %v", got)
	}
	for what, id := range map[string]authz.Role{"of another workspace": elsewhere.ID, "that never was": "rol_x", "that is no role": "root"} {
		if _, err := w.repository.Permissions(w.t.Context(), w.w, id); !fault.Has(err, fault.Missing) {
			w.t.Errorf("Permissions of a role %s: %v", what, err)
		}
	}
	inTurn(w.t, "Roles", names(w.call("Roles", w.w)[0].([]team.Role)), "Ännchen's", "Nothing", "Reader")
	w.refused("a name that is taken but for its case and accents", "roles_name_unique", func() error {
		return w.repository.InsertRole(w.t.Context(), &team.Role{
			WorkspaceID: w.w, ID: authz.Role(ids.New[ids.Role]().String()), Name: "REÁDER", CreateTime: now, UpdateTime: now, Permissions: []string{},
		})
	})
	first.Name, first.Permissions, first.Description = "Second", []string{"b.get"}, ""
	w.call("UpdateRole", first, now.Add(time.Minute))
	if first.Version != 2 || !first.UpdateTime.Equal(now.Add(time.Minute)) {
		w.t.Errorf("UpdateRole left %+v", first)
	}
	w.want(first, "Role", w.w, first.ID)
	w.refused("another one's name", "roles_name_unique", func() error {
		taken := *first
		taken.Name = "reader"
		return w.repository.UpdateRole(w.t.Context(), &taken, now)
	})

	w.want(false, "RoleInUse", w.w, reader.ID)
	w.call("SetRole", w.member, reader.ID, now)
	w.want(w.member, "MembershipOf", w.w, w.user)
	w.want(true, "RoleInUse", w.w, reader.ID)
	w.want(false, "RoleInUse", w.w, first.ID)
	w.refused("a role of another workspace", "memberships_role_fkey", func() error {
		m := *w.member
		return w.repository.SetRole(w.t.Context(), &m, elsewhere.ID, now)
	})
	w.refused("to delete a role that a member has", "memberships_role_fkey", func() error {
		return w.repository.DeleteRole(w.t.Context(), w.w, reader.ID)
	})
	w.want([]team.Role{*reader}, "RolesOf", w.user, []ids.Workspace{w.own, w.w})
	inTurn(w.t, "RolesOf elsewhere", w.call("RolesOf", w.user, []ids.Workspace{w.own})[0].([]team.Role))
	inTurn(w.t, "members with a custom role", users(w.call("List", w.w, team.Filter{Role: reader.ID}, postgres.Page{})[0]), w.user)

	// All that have the role get another one: members, invitations, also those that
	// ended, and links.
	inv := w.invite(w.w, "role@example.com", reader.ID, w.owner)
	w.want(true, "RoleInUse", w.w, reader.ID)
	ended := w.invite(w.w, "ended@example.com", reader.ID, w.owner)
	ended.State, ended.EndTime = team.Declined, now
	w.call("UpdateInvitation", ended)
	l := w.link(w.w, reader.ID, w.owner)
	w.want(1, "ReplaceRole", w.w, reader.ID, first.ID, now.Add(time.Hour))
	w.want(false, "RoleInUse", w.w, reader.ID)
	w.want(0, "ReplaceRole", w.w, reader.ID, first.ID, now)
	w.member.Role, w.member.UpdateTime = first.ID, now.Add(time.Hour)
	w.member.Version++
	w.want(w.member, "MembershipOf", w.w, w.user)
	inv.Role, ended.Role, l.Role = first.ID, first.ID, first.ID
	w.want(inv, "Invitation", inv.ID)
	w.want(ended, "Invitation", ended.ID)
	w.want(l, "Link", l.ID)
	w.call("DeleteRole", w.w, reader.ID)
	inTurn(w.t, "Roles without the deleted one", names(w.call("Roles", w.w)[0].([]team.Role)), "Nothing", "Second")

	w.want(1, "ReplaceRole", w.w, first.ID, authz.Admin, now)
	w.member.Role, w.member.UpdateTime = authz.Admin, now
	w.member.Version++
	w.run("DELETE FROM team.invitations")
	w.run("DELETE FROM team.invitation_links")

	// A pending invitation, and a link that is not revoked, are a use by themselves.
	inv = w.invite(w.w, "role@example.com", first.ID, w.owner)
	w.want(true, "RoleInUse", w.w, first.ID)
	inv.State, inv.EndTime = team.Revoked, now
	w.call("UpdateInvitation", inv)
	w.want(false, "RoleInUse", w.w, first.ID)
	l = w.link(w.w, first.ID, w.owner)
	w.want(true, "RoleInUse", w.w, first.ID)
	l.RevokeTime = now
	w.call("UpdateLink", l)
	w.want(false, "RoleInUse", w.w, first.ID)
	w.run("DELETE FROM team.invitations")
	w.run("DELETE FROM team.invitation_links")
}

func names(roles []team.Role) []string {
	var list []string
	for _, r := range roles {
		list = append(list, r.Name)
	}
	return list
}

func tokenOf(name string) secret.Hash { return secret.HashOf("test", name) }

// invite stores an invitation for an hour, by an address, which is the key, too. Its
// token is named after both.
func (w *teamWorld) invite(workspace ids.Workspace, address string, role authz.Role, by ids.User) *team.Invitation {
	w.t.Helper()
	i := &team.Invitation{
		ID: ids.New[ids.Invitation](), WorkspaceID: workspace, Address: address, AddressKey: address, Role: role, InviterID: by,
		State: team.Pending, CodeHash: []byte{1}, CreateTime: now, SendTime: now, ExpireTime: now.Add(time.Hour),
	}
	token := tokenOf(i.ID.String())
	i.TokenHash = token[:]
	w.call("InsertInvitations", []*team.Invitation{i})
	return i
}

func invitationIDs(list any) []ids.Invitation {
	var found []ids.Invitation
	switch list := list.(type) {
	case []team.Invitation:
		for i := range list {
			found = append(found, list[i].ID)
		}
	case []team.Received:
		for i := range list {
			found = append(found, list[i].ID)
		}
	}
	return found
}

func (w *teamWorld) invitations() {
	const address = "new@example.com"
	accepted := w.invite(w.w, "accepted@example.com", authz.Viewer, w.owner)
	pending := w.invite(w.w, address, authz.Member, w.owner)
	elsewhere := w.invite(w.own, address, authz.Admin, w.user)
	expired := w.invite(w.w, "expired@example.com", authz.Member, ids.User{})
	expired.ExpireTime = now.Add(-time.Second)
	w.call("UpdateInvitation", expired)
	declined := w.invite(w.w, "declined@example.com", authz.Member, w.owner)
	declined.State, declined.EndTime = team.Declined, now
	w.call("UpdateInvitation", declined)
	w.refused("a second pending one", "invitations_pending_once", func() error {
		again := *pending
		again.ID, again.TokenHash = ids.New[ids.Invitation](), []byte{7}
		return w.repository.InsertInvitations(w.t.Context(), []*team.Invitation{&again})
	})

	w.want(pending, "Invitation", pending.ID)
	w.want(pending, "InvitationByToken", tokenOf(pending.ID.String()))
	w.want(pending, "LockInvitation", w.w, pending.ID)
	w.want((*team.Invitation)(nil), "Invitation", ids.New[ids.Invitation]())
	w.want((*team.Invitation)(nil), "InvitationByToken", tokenOf("another"))
	if _, err := w.repository.LockInvitation(w.t.Context(), w.w, elsewhere.ID); !fault.Has(err, fault.Missing) {
		w.t.Errorf("LockInvitation of another workspace: %v", err)
	}
	active, reserved := 0, 0
	out := w.call("Seats", w.w, now)
	if active, reserved = out[0].(int), out[1].(int); active != 2 || reserved != 2 {
		w.t.Errorf("Seats: %d active and %d pending", active, reserved)
	}
	w.call("Deactivate", w.member, now)
	if out := w.call("Seats", w.w, now.Add(time.Hour)); out[0] != 1 || out[1] != 0 {
		w.t.Errorf("Seats without a deactivated member, once the invitations have expired: %v", out)
	}
	w.call("Reactivate", w.member, now)

	inTurn(w.t, "LockPendingAt", invitationIDs(w.call("LockPendingAt", address, now, 9)[0]), elsewhere.ID, pending.ID)
	inTurn(w.t, "LockPendingAt, the newest", invitationIDs(w.call("LockPendingAt", address, now, 1)[0]), elsewhere.ID)
	inTurn(w.t, "LockPendingAt an hour later", invitationIDs(w.call("LockPendingAt", address, now.Add(time.Hour), 9)[0]))
	w.call("CountInvitationAttempts", []ids.Invitation{pending.ID, declined.ID})
	w.call("CountInvitationAttempts", []ids.Invitation{pending.ID})
	w.call("CountInvitationAttempts", []ids.Invitation(nil))
	pending.CodeAttempts, declined.CodeAttempts = 2, 1
	w.want(pending, "Invitation", pending.ID)
	w.want(elsewhere, "Invitation", elsewhere.ID)

	for state, want := range map[team.InvitationState][]ids.Invitation{
		"":            {declined.ID, expired.ID, pending.ID, accepted.ID},
		team.Pending:  {pending.ID, accepted.ID},
		team.Expired:  {expired.ID},
		team.Declined: {declined.ID},
		team.Accepted: nil,
		team.Revoked:  nil,
	} {
		var pages []ids.Invitation
		for token, more := "", true; more; more = token != "" {
			out := w.call("ListInvitations", w.w, state, now, postgres.Page{Size: 1, Token: token})
			pages, token = append(pages, invitationIDs(out[0])...), out[1].(string)
		}
		inTurn(w.t, fmt.Sprintf("the invitations in the state %q", state), pages, want...)
	}
	token := w.call("ListInvitations", w.w, team.Pending, now, postgres.Page{Size: 1})[1].(string)
	for what, f := range map[string]struct {
		workspace ids.Workspace
		state     team.InvitationState
	}{"another state": {w.w, ""}, "another workspace": {w.own, team.Pending}} {
		w.badToken("a page's token of invitations for "+what, func(ctx context.Context, p postgres.Page) error {
			_, _, err := w.repository.ListInvitations(ctx, f.workspace, f.state, now, p)
			return err
		}, token)
	}

	received := &team.Received{Invitation: *pending, WorkspaceName: "Acme", InviterName: "Ann"}
	w.want(received, "ReceivedByToken", tokenOf(pending.ID.String()))
	w.want(&team.Received{Invitation: *expired, WorkspaceName: "Acme"}, "ReceivedByToken", tokenOf(expired.ID.String()))
	w.want((*team.Received)(nil), "ReceivedByToken", tokenOf("another"))
	inTurn(w.t, "ListReceived", invitationIDs(w.call("ListReceived", address, now, postgres.Page{})[0]), elsewhere.ID, pending.ID)
	out = w.call("ListReceived", address, now, postgres.Page{Size: 1})
	inTurn(w.t, "ListReceived, first page", invitationIDs(out[0]), elsewhere.ID)
	out = w.call("ListReceived", address, now, postgres.Page{Size: 1, Token: out[1].(string)})
	w.same("ListReceived, second page", []team.Received{*received}, out[0])
	if out[1] != "" {
		w.t.Error("ListReceived has a third page of two")
	}
	inTurn(w.t, "ListReceived of expired ones", invitationIDs(w.call("ListReceived", expired.AddressKey, now, postgres.Page{})[0]))
	run(w.t, w.admin, "UPDATE tenant.workspaces SET delete_time = now(), purge_time = now(), delete_etag = '' WHERE id = '"+w.own.UUID().String()+"'")
	inTurn(w.t, "ListReceived without the deleted workspace", invitationIDs(w.call("ListReceived", address, now, postgres.Page{})[0]), pending.ID)
	w.want((*team.Received)(nil), "ReceivedByToken", tokenOf(elsewhere.ID.String()))
	run(w.t, w.admin, "UPDATE tenant.workspaces SET delete_time = NULL, purge_time = NULL, delete_etag = NULL WHERE id = '"+w.own.UUID().String()+"'")

	inTurn(w.t, "PendingAt", sorted(invitationIDs(w.call("PendingAt", w.w, []string{address, expired.AddressKey, declined.AddressKey, "x"})[0])), pending.ID, expired.ID)
	w.want(ids.Invitation{}, "AcceptPendingAt", w.w, expired.AddressKey, w.user, now)
	w.want(ids.Invitation{}, "AcceptPendingAt", w.w, declined.AddressKey, w.user, now)
	w.want(ids.Invitation{}, "AcceptPendingAt", w.own, accepted.AddressKey, w.user, now)
	w.want(accepted.ID, "AcceptPendingAt", w.w, accepted.AddressKey, w.user, now)
	accepted.State, accepted.EndTime, accepted.UserID = team.Accepted, now, w.user
	w.want(accepted, "Invitation", accepted.ID)
	w.call("RevokePendingAt", w.w, []string{address, expired.AddressKey, accepted.AddressKey}, now)
	for _, i := range []*team.Invitation{pending, expired} {
		i.State, i.EndTime = team.Revoked, now
		w.want(i, "Invitation", i.ID)
	}
	w.want(accepted, "Invitation", accepted.ID)
	w.want(elsewhere, "Invitation", elsewhere.ID)
}

func sorted(list []ids.Invitation) []ids.Invitation {
	slices.SortFunc(list, ids.Invitation.Compare)
	return list
}

// same compares what a method returned.
func (w *teamWorld) same(what string, want, got any) {
	w.t.Helper()
	if diff := cmp.Diff(want, got, everything); diff != "" {
		w.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// link stores a link for an hour and two uses. Its token is named after its id.
func (w *teamWorld) link(workspace ids.Workspace, role authz.Role, by ids.User) *team.Link {
	w.t.Helper()
	l := &team.Link{
		ID: ids.New[ids.InvitationLink](), WorkspaceID: workspace, Role: role, CreatorID: by, Domains: []string{"example.com", "b.example"},
		MaxUses: 2, CreateTime: now, ExpireTime: now.Add(time.Hour),
	}
	token := tokenOf(l.ID.String())
	l.TokenHash = token[:]
	w.call("InsertLink", l)
	return l
}

func (w *teamWorld) links() {
	first, second := w.link(w.w, authz.Member, w.owner), w.link(w.w, authz.Viewer, ids.User{})
	elsewhere := w.link(w.own, authz.Member, w.user)
	w.want(first, "Link", first.ID)
	w.want(second, "LinkByToken", tokenOf(second.ID.String()))
	w.want(first, "LockLink", w.w, first.ID)
	w.want((*team.Link)(nil), "Link", ids.New[ids.InvitationLink]())
	w.want((*team.Link)(nil), "LinkByToken", tokenOf("another"))
	if _, err := w.repository.LockLink(w.t.Context(), w.w, elsewhere.ID); !fault.Has(err, fault.Missing) {
		w.t.Errorf("LockLink of another workspace: %v", err)
	}
	w.want(&team.ReceivedLink{Link: *first, WorkspaceName: "Acme", CreatorName: "Ann"}, "ReceivedLinkByToken", tokenOf(first.ID.String()))
	w.want(&team.ReceivedLink{Link: *second, WorkspaceName: "Acme"}, "ReceivedLinkByToken", tokenOf(second.ID.String()))
	w.want((*team.ReceivedLink)(nil), "ReceivedLinkByToken", tokenOf("another"))
	w.want(2, "CountLinks", w.w, now)
	w.want(0, "CountLinks", w.w, now.AddDate(1, 0, 0))
	first.UseCount = 2
	w.call("UpdateLink", first)
	w.want(1, "CountLinks", w.w, now)
	w.refused("a third use of two", "invitation_links_not_overused", func() error {
		l := *first
		l.UseCount++
		return w.repository.UpdateLink(w.t.Context(), &l)
	})
	out := w.call("ListLinks", w.w, postgres.Page{Size: 1})
	w.same("ListLinks, first page", []team.Link{*second}, out[0])
	token := out[1].(string)
	w.badToken("a page's token of links in another workspace", func(ctx context.Context, p postgres.Page) error {
		_, _, err := w.repository.ListLinks(ctx, w.own, p)
		return err
	}, token)
	out = w.call("ListLinks", w.w, postgres.Page{Size: 1, Token: token})
	w.same("ListLinks, second page", []team.Link{*first}, out[0])
	if out[1] != "" {
		w.t.Error("ListLinks has a third page of two")
	}
	w.run("DELETE FROM team.invitation_links")
}

// grants is about what members have made, and can no longer make.
func (w *teamWorld) grants() {
	w.run("DELETE FROM team.invitations")
	inviter := w.role(w.w, "Inviter", "a.get")
	w.call("SetRole", w.member, inviter.ID, now)
	inTurn(w.t, "Granters before there is anything", users(w.call("Granters", w.w)[0]))
	pending := w.invite(w.w, "one@example.com", inviter.ID, w.user)
	w.want(&team.Received{Invitation: *pending, WorkspaceName: "Acme", InviterName: "Ann", RoleName: "Inviter"}, "ReceivedByToken", tokenOf(pending.ID.String()))
	expired := w.invite(w.w, "two@example.com", authz.Viewer, w.user)
	expired.ExpireTime = now
	w.call("UpdateInvitation", expired)
	others := w.invite(w.w, "three@example.com", authz.Viewer, w.owner)
	declined := w.invite(w.w, "four@example.com", authz.Viewer, w.user)
	declined.State, declined.EndTime = team.Declined, now
	w.call("UpdateInvitation", declined)
	elsewhere := w.invite(w.own, "one@example.com", authz.Viewer, w.user)
	inTurn(w.t, "Granters by an invitation", users(w.call("Granters", w.w)[0]), w.user)
	inTurn(w.t, "Granters elsewhere, where they are owners", users(w.call("Granters", w.own)[0]))
	l := w.link(w.w, inviter.ID, w.user)
	w.want(&team.ReceivedLink{Link: *l, WorkspaceName: "Acme", CreatorName: "Ann", RoleName: "Inviter"}, "ReceivedLinkByToken", tokenOf(l.ID.String()))

	granted := w.call("GrantedBy", w.w, w.user)[0].([]team.Granted)
	slices.SortFunc(granted, func(a, b team.Granted) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	w.same("GrantedBy", []team.Granted{
		{ID: pending.ID.UUID(), Role: inviter.ID}, {ID: expired.ID.UUID(), Role: authz.Viewer}, {ID: l.ID.UUID(), Link: true, Role: inviter.ID},
	}, granted)
	w.call("Revoke", granted, now)
	pending.State, pending.EndTime = team.Revoked, now
	expired.State, expired.EndTime, l.RevokeTime = team.Revoked, now, now
	for _, i := range []*team.Invitation{pending, expired, others, declined, elsewhere} {
		w.want(i, "Invitation", i.ID)
	}
	w.want(l, "Link", l.ID)
	inTurn(w.t, "GrantedBy, revoked", w.call("GrantedBy", w.w, w.user)[0].([]team.Granted))
	w.call("Revoke", granted, now.Add(time.Hour)) // which leaves the time of the first as it is
	w.want(pending, "Invitation", pending.ID)
	w.want(l, "Link", l.ID)
	inTurn(w.t, "Granters, revoked", users(w.call("Granters", w.w)[0]))
	l = w.link(w.w, authz.Viewer, w.user)
	inTurn(w.t, "Granters by a link", users(w.call("Granters", w.w)[0]), w.user)
	w.call("Revoke", []team.Granted(nil), now)
	w.want(l, "Link", l.ID)

	// What ended goes a while after it did, and only that.
	old := w.link(w.w, authz.Viewer, w.owner)
	old.RevokeTime = now.Add(-time.Hour)
	w.call("UpdateLink", old)
	declined.EndTime = now.Add(-time.Hour)
	w.call("UpdateInvitation", declined)
	w.call("DeleteEndedInvitations", now)
	w.want((*team.Invitation)(nil), "Invitation", declined.ID)
	w.want((*team.Link)(nil), "Link", old.ID)
	for _, i := range []*team.Invitation{pending, expired, others, elsewhere} {
		w.want(i, "Invitation", i.ID)
	}
	w.call("DeleteEndedInvitations", now.Add(time.Second))
	w.want((*team.Invitation)(nil), "Invitation", pending.ID)
	w.want((*team.Invitation)(nil), "Invitation", expired.ID)
	w.want(others, "Invitation", others.ID)
	w.want(l, "Link", l.ID)
	w.call("SetRole", w.member, authz.Admin, now)
	inTurn(w.t, "Granters who may give what any custom role holds", users(w.call("Granters", w.w)[0]))
	w.call("SetRole", w.member, authz.Member, now)
}

func (w *teamWorld) joinRequests() {
	ask := func(workspace ids.Workspace, user ids.User, address string) *team.JoinRequest {
		j := &team.JoinRequest{
			ID: ids.New[ids.JoinRequest](), WorkspaceID: workspace, UserID: user, Message: "please", State: team.JoinPending, CreateTime: now,
			DisplayName: "Ann", Address: address,
		}
		w.call("InsertJoinRequest", j)
		return j
	}
	first, second := ask(w.w, w.user, "user@example.com"), ask(w.w, w.owner, "owner@example.com")
	elsewhere := ask(w.own, w.user, "user@example.com")
	w.refused("a second pending one", "join_requests_pending_once", func() error {
		again := *first
		again.ID = ids.New[ids.JoinRequest]()
		return w.repository.InsertJoinRequest(w.t.Context(), &again)
	})
	w.want(first, "JoinRequest", w.w, first.ID)
	if _, err := w.repository.JoinRequest(w.t.Context(), w.w, elsewhere.ID); !fault.Has(err, fault.Missing) {
		w.t.Errorf("JoinRequest of another workspace: %v", err)
	}
	w.want([]team.JoinRequest{*elsewhere, *first}, "JoinRequestsOf", w.user, now)
	w.call("DecideJoinRequest", elsewhere, team.JoinRejected, now)
	w.want(elsewhere, "JoinRequest", w.own, elsewhere.ID)
	w.want([]team.JoinRequest{*elsewhere, *first}, "JoinRequestsOf", w.user, now.Add(-time.Second))
	w.want([]team.JoinRequest{*first}, "JoinRequestsOf", w.user, now)
	w.want(ids.JoinRequest{}, "ApproveJoinRequestOf", w.own, w.user, now.Add(time.Hour)) // which is not pending
	w.want(elsewhere, "JoinRequest", w.own, elsewhere.ID)
	w.want(first.ID, "ApproveJoinRequestOf", w.w, w.user, now)
	first.State, first.DecideTime = team.JoinApproved, now
	w.want(first, "JoinRequest", w.w, first.ID)
	w.want([]team.JoinRequest(nil), "JoinRequestsOf", w.user, now)

	for state, want := range map[team.JoinRequestState][]team.JoinRequest{
		"": {*second, *first}, team.JoinPending: {*second}, team.JoinApproved: {*first}, team.JoinRejected: nil,
	} {
		var pages []team.JoinRequest
		for token, more := "", true; more; more = token != "" {
			out := w.call("ListJoinRequests", w.w, state, postgres.Page{Size: 1, Token: token})
			pages, token = append(pages, out[0].([]team.JoinRequest)...), out[1].(string)
		}
		w.same(fmt.Sprintf("the requests in the state %q", state), want, pages)
	}
	token := w.call("ListJoinRequests", w.w, "", postgres.Page{Size: 1})[1].(string)
	w.badToken("a page's token of requests in another state", func(ctx context.Context, p postgres.Page) error {
		_, _, err := w.repository.ListJoinRequests(ctx, w.w, team.JoinPending, p)
		return err
	}, token)

	w.call("DeleteDecidedJoinRequests", now)
	w.want(first, "JoinRequest", w.w, first.ID)
	w.call("DeleteDecidedJoinRequests", now.Add(time.Second))
	inTurn(w.t, "the requests that nobody decided", w.call("ListJoinRequests", w.w, "", postgres.Page{})[0].([]team.JoinRequest), *second)
}

func (w *teamWorld) departures() {
	left, removed := tokenOf("left@example.com"), tokenOf("removed@example.com")
	is := func(hash secret.Hash, workspace ids.Workspace, departed, removed bool) {
		w.t.Helper()
		w.want(departed, "Departed", workspace, hash)
		w.want(removed, "Removed", workspace, hash)
	}
	is(left, w.w, false, false)
	w.call("RecordDeparture", w.w, left, false, now)
	w.call("RecordDeparture", w.w, left, false, now.Add(time.Hour)) // once more
	w.call("RecordDeparture", w.w, removed, true, now)
	is(left, w.w, true, false)
	is(removed, w.w, true, true)
	is(removed, w.own, false, false)
	w.call("RecordDeparture", w.w, removed, false, now) // who leaves later was removed all the same
	is(removed, w.w, true, true)
	w.call("RecordDeparture", w.w, left, true, now)
	is(left, w.w, true, true)
	w.call("ForgetDeparture", w.own, left)
	is(left, w.w, true, true)
	w.call("ForgetDeparture", w.w, left)
	is(left, w.w, false, false)
	is(removed, w.w, true, true)
}

// ends deletes what the other parts have left, and what is added to it.
func (w *teamWorld) ends() {
	for _, table := range []string{"invitations", "invitation_links", "join_requests"} {
		w.run("DELETE FROM team." + table)
	}
	roles := len(w.call("Roles", w.w)[0].([]team.Role))
	w.want(team.Ends{Roles: roles}, "Ends", w.w, now)
	pending := w.invite(w.w, "one@example.com", authz.Viewer, w.user)
	mine := w.invite(w.own, "user@example.com", authz.Viewer, w.owner)
	mine.State, mine.EndTime, mine.UserID = team.Accepted, now, w.user
	w.call("UpdateInvitation", mine)
	l, used := w.link(w.w, authz.Viewer, w.user), w.link(w.w, authz.Viewer, w.owner)
	used.UseCount = 2
	w.call("UpdateLink", used)
	unlimited := w.link(w.w, authz.Viewer, w.owner)
	w.run("UPDATE team.invitation_links SET max_uses = 0, use_count = 9 WHERE id = ?", unlimited.ID.UUID())
	for _, u := range []ids.User{w.user, w.owner} {
		w.call("InsertJoinRequest", &team.JoinRequest{ID: ids.New[ids.JoinRequest](), WorkspaceID: w.w, UserID: u, State: team.JoinPending, CreateTime: now})
	}
	w.want(team.Ends{Invitations: 1, Links: 2, Roles: roles, JoinRequests: 2}, "Ends", w.w, now)
	w.want(team.Ends{Roles: roles, JoinRequests: 2}, "Ends", w.w, now.Add(time.Hour))

	w.call("DeleteOfUsers", []ids.User{w.user})
	inTurn(w.t, "who is left", users(w.call("List", w.w, team.Filter{}, postgres.Page{})[0]), w.owner)
	pending.InviterID, l.CreatorID = ids.User{}, ids.User{}
	w.want(pending, "Invitation", pending.ID)
	w.want(l, "Link", l.ID)
	w.want((*team.Invitation)(nil), "Invitation", mine.ID)
	if left := w.call("ListJoinRequests", w.w, "", postgres.Page{})[0].([]team.JoinRequest); len(left) != 1 || left[0].UserID != w.owner {
		w.t.Errorf("requests that are left: %v", left)
	}
	w.want(1, "DeleteOfWorkspace", w.w)
	for _, table := range []string{"memberships", "roles", "invitations", "invitation_links", "join_requests", "departures"} {
		var count int
		if err := w.tx.NewRaw("SELECT count(*) FROM team."+table+" WHERE workspace_id = ?", w.w).Scan(w.t.Context(), &count); err != nil {
			w.t.Fatal(err)
		}
		if count != 0 {
			w.t.Errorf("team.%s keeps %d rows of a deleted workspace", table, count)
		}
	}
}
