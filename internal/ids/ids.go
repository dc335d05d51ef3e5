// Package ids is the identifiers of resources: UUIDv7 (RFC 9562) in the program
// and the database, and TypeID strings (a prefix, `_`, and the UUID in 26
// characters of Crockford base32) on the wire.
package ids

import (
	"database/sql/driver"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// Kind is the kind of resource that an ID names.
type Kind interface{ prefix() string }

// ID identifies a resource of kind K. The zero ID names nothing.
type ID[K Kind] struct{ uuid uuid.UUID }

// The kinds of resources and their IDs.
type (
	user             struct{}
	emailChange      struct{}
	workspace        struct{}
	membership       struct{}
	session          struct{}
	registration     struct{}
	passwordReset    struct{}
	event            struct{}
	invitation       struct{}
	invitationLink   struct{}
	role             struct{}
	joinRequest      struct{}
	domain           struct{}
	emailChallenge   struct{}
	factor           struct{}
	passkey          struct{}
	challenge        struct{}
	externalIdentity struct{}
	externalSignIn   struct{}
	refreshToken     struct{}
	apiKey           struct{}
	serviceAccount   struct{}
	signingKey       struct{}
	device           struct{}
	subscription     struct{}
	invoice          struct{}

	User             = ID[user]
	EmailChange      = ID[emailChange]
	Workspace        = ID[workspace]
	Membership       = ID[membership]
	Session          = ID[session]
	Registration     = ID[registration]
	PasswordReset    = ID[passwordReset]
	Event            = ID[event]
	Invitation       = ID[invitation]
	InvitationLink   = ID[invitationLink]
	Role             = ID[role]
	JoinRequest      = ID[joinRequest]
	Domain           = ID[domain]
	EmailChallenge   = ID[emailChallenge]
	Factor           = ID[factor]
	Passkey          = ID[passkey]
	Challenge        = ID[challenge]
	ExternalIdentity = ID[externalIdentity]
	ExternalSignIn   = ID[externalSignIn]
	RefreshToken     = ID[refreshToken]
	APIKey           = ID[apiKey]
	ServiceAccount   = ID[serviceAccount]
	SigningKey       = ID[signingKey]
	Device           = ID[device]
	Subscription     = ID[subscription]
	Invoice          = ID[invoice]
)

func (user) prefix() string             { return "usr" }
func (emailChange) prefix() string      { return "emc" }
func (workspace) prefix() string        { return "wsp" }
func (membership) prefix() string       { return "mem" }
func (session) prefix() string          { return "ses" }
func (registration) prefix() string     { return "reg" }
func (passwordReset) prefix() string    { return "pwr" }
func (event) prefix() string            { return "evt" }
func (invitation) prefix() string       { return "inv" }
func (invitationLink) prefix() string   { return "ivl" }
func (role) prefix() string             { return "rol" }
func (joinRequest) prefix() string      { return "jrq" }
func (domain) prefix() string           { return "dom" }
func (emailChallenge) prefix() string   { return "ech" }
func (factor) prefix() string           { return "fac" }
func (passkey) prefix() string          { return "pky" }
func (challenge) prefix() string        { return "chl" }
func (externalIdentity) prefix() string { return "xid" }
func (externalSignIn) prefix() string   { return "xsi" }
func (refreshToken) prefix() string     { return "rft" }
func (apiKey) prefix() string           { return "key" }
func (serviceAccount) prefix() string   { return "sva" }
func (signingKey) prefix() string       { return "sgk" }
func (device) prefix() string           { return "dev" }
func (subscription) prefix() string     { return "sub" }
func (invoice) prefix() string          { return "ivc" }

// typed is implemented by every ID, and by nothing else.
type typed[I any] interface {
	with(uuid.UUID) I
	prefix() string
}

func (ID[K]) with(u uuid.UUID) ID[K] { return ID[K]{u} }

func (ID[K]) prefix() string {
	var k K
	return k.prefix()
}

// New returns a new ID, as in New[ids.User](). IDs made later sort after it.
func New[I typed[I]]() I {
	var zero I
	return zero.with(uuid.Must(uuid.NewV7()))
}

// FromUUID returns the ID with a UUID, as in FromUUID[ids.User](u).
func FromUUID[I typed[I]](u uuid.UUID) I {
	var zero I
	return zero.with(u)
}

// FromUUIDs returns the IDs with UUIDs, as in FromUUIDs[ids.User](list).
func FromUUIDs[I typed[I]](list []uuid.UUID) []I {
	out := make([]I, len(list))
	for i, u := range list {
		out[i] = FromUUID[I](u)
	}
	return out
}

// Parse reads an ID in its wire form, as in Parse[ids.User](s).
func Parse[I typed[I]](s string) (I, error) {
	var zero I
	rest, ok := strings.CutPrefix(s, zero.prefix()+"_")
	if !ok {
		return zero, fmt.Errorf("an id that begins with %s_ is expected", zero.prefix())
	}
	u, err := decode(rest)
	if err != nil {
		return zero, err
	}
	return zero.with(u), nil
}

// String returns the wire form, and "" for the zero ID.
func (id ID[K]) String() string {
	if id.IsZero() {
		return ""
	}
	return id.prefix() + "_" + encode(id.uuid)
}

// UUID returns the UUID.
func (id ID[K]) UUID() uuid.UUID { return id.uuid }

// IsZero reports whether the ID names nothing.
func (id ID[K]) IsZero() bool { return id.uuid == uuid.Nil }

// Compare orders IDs as the database does.
func (id ID[K]) Compare(other ID[K]) int {
	return strings.Compare(string(id.uuid[:]), string(other.uuid[:]))
}

// Value gives the database the UUID, and NULL for the zero ID.
func (id ID[K]) Value() (driver.Value, error) {
	if id.IsZero() {
		return nil, nil
	}
	return id.uuid.String(), nil
}

// Scan reads a UUID, or NULL, from the database.
func (id *ID[K]) Scan(src any) error {
	if src == nil {
		*id = ID[K]{}
		return nil
	}
	return id.uuid.Scan(src)
}

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// encode writes 128 bits as 26 digits of 5 bits, the first of which holds 3.
func encode(u uuid.UUID) string {
	var out [26]byte
	var bits uint
	var acc uint32
	at := len(out)
	for i := len(u) - 1; i >= 0; i-- {
		acc |= uint32(u[i]) << bits
		bits += 8
		for bits >= 5 {
			at--
			out[at] = alphabet[acc&31]
			acc >>= 5
			bits -= 5
		}
	}
	out[0] = alphabet[acc]
	return string(out[:])
}

func decode(s string) (uuid.UUID, error) {
	var u uuid.UUID
	if len(s) != 26 || s[0] > '7' {
		return u, fmt.Errorf("not an id: %d characters where 26 are expected", len(s))
	}
	var bits uint
	var acc uint32
	at := len(u)
	for i := len(s) - 1; i >= 0; i-- {
		digit := strings.IndexByte(alphabet, s[i])
		if digit < 0 {
			return uuid.UUID{}, fmt.Errorf("not an id: character %q", s[i])
		}
		acc |= uint32(digit) << bits
		bits += 5
		if bits >= 8 && at > 0 {
			at--
			u[at] = byte(acc)
			acc >>= 8
			bits -= 8
		}
	}
	return u, nil
}

// UUIDs returns the UUIDs of ids as strings, for an array parameter.
func UUIDs[K Kind](list []ID[K]) []string {
	out := make([]string, len(list))
	for i, id := range list {
		out[i] = id.uuid.String()
	}
	return out
}
