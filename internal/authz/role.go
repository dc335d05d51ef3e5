package authz

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Role is the role of a membership: a built-in one, or the id of a custom role of
// the workspace, in the form of the API.
type Role string

// The built-in roles. Each holds every permission of those below it.
const (
	Owner  Role = "owner"
	Admin  Role = "admin"
	Member Role = "member"
	Viewer Role = "viewer"
)

// BuiltIn are the built-in roles, the highest first.
var BuiltIn = []Role{Owner, Admin, Member, Viewer}

// AtLeast reports whether the role is a built-in one and is, or stands above, the
// least one, which is a built-in one, too.
func (r Role) AtLeast(least Role) bool {
	return rank(least) > 0 && rank(r) >= rank(least)
}

// KeyRole is the role by which API keys act: a custom one, which no workspace has, of
// the permissions that the key holds.
const KeyRole Role = "rol_key"

// Custom reports whether the role is a custom one.
func (r Role) Custom() bool { return strings.HasPrefix(string(r), "rol_") }

// rank is 0 for what is not a built-in role.
func rank(r Role) int {
	switch r {
	case Owner:
		return 4
	case Admin:
		return 3
	case Member:
		return 2
	case Viewer:
		return 1
	}
	return 0
}

// Permission is something that members of a workspace may do.
type Permission struct {
	// Name is `<resource>.<verb>`.
	Name string
	// Description says what it allows, for a person who assigns roles.
	Description string
	// LeastRole is the lowest built-in role that holds it.
	LeastRole Role
}

// HeldBy reports whether a role holds the permission. For a custom role the
// permissions are given that it names; those that the role admin does not hold are
// of no use to it.
func (p Permission) HeldBy(role Role, custom []string) bool {
	if role.Custom() {
		return Admin.AtLeast(p.LeastRole) && slices.Contains(custom, p.Name)
	}
	return role.AtLeast(p.LeastRole)
}

// Catalog is all permissions that there are: those which the rules of the API
// name.
type Catalog struct {
	byName map[string]Permission
	sorted []Permission // by name
}

// NewCatalog returns the catalog of the permissions.
func NewCatalog(all []Permission) Catalog {
	c := Catalog{byName: make(map[string]Permission, len(all))}
	for _, p := range all {
		c.byName[p.Name] = p
	}
	c.sorted = slices.SortedFunc(maps.Values(c.byName), func(a, b Permission) int { return cmp.Compare(a.Name, b.Name) })
	return c
}

// All returns the permissions, sorted by name.
func (c Catalog) All() []Permission { return slices.Clone(c.sorted) }

// Permission returns the permission of a name, and whether there is one.
func (c Catalog) Permission(name string) (Permission, bool) {
	p, ok := c.byName[name]
	return p, ok
}

// HeldBy returns the permissions that a role holds, sorted by name. For a custom
// role those are given that it names.
func (c Catalog) HeldBy(role Role, custom []string) []Permission {
	return slices.DeleteFunc(c.All(), func(p Permission) bool { return !p.HeldBy(role, custom) })
}

// Within returns those of the named permissions that a key of somebody with the role
// can use: none that owners alone hold, and none that the role does not hold.
func (c Catalog) Within(names []string, role Role, custom []string) []string {
	held := make([]string, 0, len(names))
	for _, name := range names {
		if p, ok := c.byName[name]; ok && p.HeldBy(KeyRole, names) && p.HeldBy(role, custom) {
			held = append(held, name)
		}
	}
	return held
}
