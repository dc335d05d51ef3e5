package store_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
	"github.com/logicspike/manager/store/team"
)

// users are those of memberships.
func users(list any) []ids.User {
	var found []ids.User
	for _, m := range list.([]team.Membership) {
		found = append(found, m.UserID)
	}
	return found
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
	first := team.Recipient{MembershipID: w.call("First", w.w, 1)[0].([]team.Membership)[0].ID, Address: "owner@example.com", Active: true, Sole: true}
	second := team.Recipient{MembershipID: w.member.ID, Address: "user@example.com", Active: true}
	w.want([]team.Recipient{first, second}, "Recipients", w.w, ids.Membership{}, ids.Membership{}, 10)
	w.want([]team.Recipient{first}, "Recipients", w.w, ids.Membership{}, ids.Membership{}, 1)
	w.want([]team.Recipient{first}, "Recipients", w.w, ids.Membership{}, first.MembershipID, 10)
	w.want([]team.Recipient{second}, "Recipients", w.w, first.MembershipID, ids.Membership{}, 10)
	w.want([]team.SoleOwned{{WorkspaceID: w.w, WorkspaceName: "Acme", OtherMembers: 1}}, "SoleOwnedBy", w.owner)
	w.want([]ids.Workspace{w.own}, "AloneIn", w.user)
}
