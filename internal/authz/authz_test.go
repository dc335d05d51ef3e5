package authz_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/logicspike/manager/internal/authz"
)

func TestNetworkIsAnAddressOrAnIPv6HostsWholeRange(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":             "192.0.2.7",
		"::ffff:192.0.2.7":      "192.0.2.7",
		"2001:db8:1:2:3:4:5:6":  "2001:db8:1:2::/64",
		"fe80::1%eth0":          "fe80::/64",
		"2001:db8:1:2:ffff::99": "2001:db8:1:2::/64",
	} {
		if got := (authz.Client{Address: netip.MustParseAddr(address)}).Network(); got != want {
			t.Errorf("Network of %s = %s, want %s", address, got, want)
		}
	}
	if got := (authz.Client{Address: netip.MustParseAddr("2001:db8:1:2:3:4:5:6")}).Site(); got != "2001:db8:1::/48" {
		t.Errorf("Site = %s", got)
	}
	if got := (authz.Client{}).Network(); got != "unknown" {
		t.Errorf("Network of no address = %s", got)
	}
}

func TestRolesAreOrdered(t *testing.T) {
	order := []authz.Role{authz.Viewer, authz.Member, authz.Admin, authz.Owner}
	for i, role := range order {
		for j, least := range order {
			if role.AtLeast(least) != (i >= j) {
				t.Errorf("%s.AtLeast(%s) = %t", role, least, i < j)
			}
		}
	}
	if authz.Role("").AtLeast("") || authz.Role("root").AtLeast(authz.Viewer) {
		t.Error("an unknown role holds something")
	}
}

// custom is the role of an id of the API.
const custom = authz.Role("rol_01h455vb4pex5vsknk084sn02q")

// byRole are permissions by the lowest built-in role that holds them.
var byRole = map[authz.Role]authz.Permission{
	authz.Viewer: {Name: "thing.get", Description: "See things", LeastRole: authz.Viewer},
	authz.Member: {Name: "thing.create", Description: "Make things", LeastRole: authz.Member},
	authz.Admin:  {Name: "thing.update", Description: "Change things", LeastRole: authz.Admin},
	authz.Owner:  {Name: "thing.delete", Description: "Delete things", LeastRole: authz.Owner},
}

var allNames = []string{"thing.create", "thing.delete", "thing.get", "thing.update"}

func TestABuiltInRoleHoldsWhatTheLowestOneSays(t *testing.T) {
	for _, role := range authz.BuiltIn {
		for least, p := range byRole {
			// What a custom role would hold is of no use to a built-in one.
			for _, named := range [][]string{nil, allNames} {
				if got := p.HeldBy(role, named); got != role.AtLeast(least) {
					t.Errorf("%s held by %s (which names %v): %t", p.Name, role, named, got)
				}
			}
			if got := (authz.Membership{Role: role}).Holds(p); got != role.AtLeast(least) {
				t.Errorf("a membership of %s holds %s: %t", role, p.Name, got)
			}
		}
		if role.Custom() {
			t.Errorf("%s is a custom role", role)
		}
	}
}

func TestACustomRoleHoldsWhatItNamesButNothingOfTheOwnersAlone(t *testing.T) {
	if !custom.Custom() || custom.AtLeast(authz.Viewer) || authz.Owner.AtLeast(custom) {
		t.Error("a custom role is taken for a built-in one")
	}
	if (authz.Permission{Name: "thing.get"}).HeldBy(authz.Owner, nil) || (authz.Permission{Name: "thing.get"}).HeldBy(custom, []string{"thing.get"}) {
		t.Error("a permission is held that no role is the lowest to hold")
	}
	for least, p := range byRole {
		for what, test := range map[string]struct {
			role  authz.Role
			named []string
			want  bool
		}{
			"names it":                    {custom, []string{p.Name}, least != authz.Owner},
			"names all":                   {custom, allNames, least != authz.Owner},
			"names nothing":               {custom, nil, false},
			"names the resource":          {custom, []string{"thing", "thing.", "thing.*", "*"}, false},
			"names it in capitals":        {custom, []string{"THING.GET", "THING.CREATE", "THING.UPDATE"}, false},
			"is none":                     {"", allNames, false},
			"is no role":                  {"root", allNames, false},
			"is a built-in role misspelt": {"Owner", allNames, false},
		} {
			if got := p.HeldBy(test.role, test.named); got != test.want {
				t.Errorf("%s, of a role that %s: %t", p.Name, what, got)
			}
			if got := (authz.Membership{Role: test.role, Custom: test.named}).Holds(p); got != test.want {
				t.Errorf("%s, of a member whose role %s: %t", p.Name, what, got)
			}
		}
	}
}

func TestTheCatalogHasEachPermissionOnceByName(t *testing.T) {
	var given []authz.Permission
	for _, role := range authz.BuiltIn { // not in the order of names, and twice
		given = append(given, byRole[role], byRole[role])
	}
	c := authz.NewCatalog(given)
	names := func(list []authz.Permission) []string {
		found := []string{}
		for _, p := range list {
			found = append(found, p.Name)
		}
		return found
	}
	if diff := cmp.Diff(allNames, names(c.All())); diff != "" {
		t.Errorf("All (-want +got):\n%s", diff)
	}
	for _, p := range byRole {
		if got, ok := c.Permission(p.Name); !ok || got != p {
			t.Errorf("Permission(%s) = %+v, %t", p.Name, got, ok)
		}
	}
	for _, name := range []string{"", "thing", "thing.get ", "Thing.get"} {
		if got, ok := c.Permission(name); ok || got != (authz.Permission{}) {
			t.Errorf("Permission(%q) = %+v, %t", name, got, ok)
		}
	}
	for _, test := range []struct {
		role  authz.Role
		named []string
		want  []string
	}{
		{authz.Owner, nil, allNames},
		{authz.Admin, nil, []string{"thing.create", "thing.get", "thing.update"}},
		{authz.Member, nil, []string{"thing.create", "thing.get"}},
		{authz.Viewer, allNames, []string{"thing.get"}},
		{custom, allNames, []string{"thing.create", "thing.get", "thing.update"}},
		{custom, []string{"thing.update", "thing.burn"}, []string{"thing.update"}},
		{custom, nil, []string{}},
		{"", allNames, []string{}},
	} {
		if diff := cmp.Diff(test.want, names(c.HeldBy(test.role, test.named))); diff != "" {
			t.Errorf("HeldBy(%q, %v) (-want +got):\n%s", test.role, test.named, diff)
		}
	}
	if len(c.All()) != len(allNames) {
		t.Error("what HeldBy left out is gone from the catalog")
	}
	if (authz.Catalog{}).All() != nil || len((authz.Catalog{}).HeldBy(authz.Owner, nil)) != 0 {
		t.Error("an empty catalog has something")
	}
}

func TestAKeyHoldsWithinItsOwner(t *testing.T) {
	var all []authz.Permission
	for _, p := range byRole {
		all = append(all, p)
	}
	catalog := authz.NewCatalog(all)
	for _, c := range []struct {
		names  []string
		role   authz.Role
		custom []string
		want   []string
	}{
		{allNames, authz.Owner, nil, []string{"thing.create", "thing.get", "thing.update"}},
		{allNames, authz.Admin, nil, []string{"thing.create", "thing.get", "thing.update"}},
		{allNames, authz.Viewer, nil, []string{"thing.get"}},
		{allNames, custom, []string{"thing.update", "thing.delete"}, []string{"thing.update"}},
		{allNames, custom, nil, []string{}},
		{allNames, "", nil, []string{}},
		{[]string{"thing.get", "thing.unknown"}, authz.Owner, nil, []string{"thing.get"}},
		{nil, authz.Owner, nil, []string{}},
	} {
		got := catalog.Within(c.names, c.role, c.custom)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%v of a key of %q %v (-want +got):\n%s", c.names, c.role, c.custom, diff)
		}
		m := (&authz.Key{Permissions: got}).Membership()
		for _, p := range all {
			if held := m.Holds(p); held != slices.Contains(c.want, p.Name) {
				t.Errorf("the key of %q %v holds %s: %t", c.role, c.custom, p.Name, held)
			}
		}
	}
	if m := (&authz.Key{Permissions: allNames}).Membership(); m.Holds(byRole[authz.Owner]) {
		t.Error("a key holds what owners alone hold")
	}
}
