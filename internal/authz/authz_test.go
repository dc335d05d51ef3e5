package authz_test

import (
	"net/netip"
	"testing"

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
