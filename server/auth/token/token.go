// Package token issues and reads access tokens: JWTs (RFC 9068) signed by Ed25519
// (RFC 8037), and publishes the keys by which other services verify them.
package token

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store"
)

const (
	// tokenType is the header `typ` of access tokens (RFC 9068, 2.1): no other JWT is
	// taken for one (RFC 8725, 3.11).
	tokenType = "at+jwt"
	// clientID is the claim `client_id`, which RFC 9068, 2.2 requires: there are no
	// clients but this server itself.
	clientID = "manager"
)

// Options are what an Issuer needs.
type Options struct {
	Keys  Keys
	Clock clock.Clock
	// Issuer is the claim `iss`: the server's public URL.
	Issuer string
	// Audiences are the services that tokens are issued for, at least one; the first
	// is the default.
	Audiences []string
}

// Issuer issues access tokens. It is safe for concurrent use.
type Issuer struct {
	options Options
	ring    *ring
}

// New returns an issuer.
func New(o Options) *Issuer { return &Issuer{o, &ring{keys: o.Keys, clock: o.Clock}} }

// Audiences returns the services that tokens are issued for.
func (i *Issuer) Audiences() []string { return i.options.Audiences }

// Audience returns the audience that is asked for, and the default for "".
//
// Errors: fault AUDIENCE_NOT_ALLOWED.
func (i *Issuer) Audience(asked string) (string, error) {
	if asked == "" {
		return i.options.Audiences[0], nil
	}
	if !slices.Contains(i.options.Audiences, asked) {
		return "", fault.New(fault.FailedPrecondition, fault.AudienceNotAllowed,
			"audience: the server issues no tokens for it").WithField("audience")
	}
	return asked, nil
}

// claims are what a token says (RFC 9068, 2.2). They stand in the order in which they
// are written.
type claims struct {
	Issuer      string   `json:"iss"`
	Subject     string   `json:"sub"`
	Audience    string   `json:"aud"`
	Expires     int64    `json:"exp"`
	IssuedAt    int64    `json:"iat"`
	ID          string   `json:"jti"`
	ClientID    string   `json:"client_id"`
	Session     string   `json:"sid"`
	AuthTime    int64    `json:"auth_time"`
	Methods     []string `json:"amr"`
	Workspace   string   `json:"workspace_id,omitempty"`
	Role        string   `json:"role,omitempty"`
	Permissions []string `json:"permissions,omitempty"`
	Actor       *actor   `json:"act,omitempty"`
}

// actor is who acts in the user's name (RFC 8693, 4.1).
type actor struct {
	Subject string `json:"sub"`
}

// Issue returns an access token, and when it expires: after 5 minutes, or with the
// session if that is earlier.
func (i *Issuer) Issue(ctx context.Context, g *store.Grant) (string, time.Time, error) {
	signer, err := i.ring.signer(ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	now := i.options.Clock.Now().Truncate(time.Second)
	expires := now.Add(store.AccessTokenLifetime)
	if g.ExpireTime.Before(expires) {
		expires = g.ExpireTime.Truncate(time.Second)
	}
	c := claims{
		Issuer: i.options.Issuer, Subject: g.User.String(), Audience: g.Audience, Expires: expires.Unix(), IssuedAt: now.Unix(),
		ID: rand.Text(), ClientID: clientID, Session: g.Session.String(), AuthTime: g.AuthTime.Unix(), Methods: references(g.Methods),
		Workspace: g.Workspace.String(), Role: string(g.Role), Permissions: g.Permissions,
	}
	if !g.Impersonator.IsZero() {
		c.Actor = &actor{g.Impersonator.String()}
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", time.Time{}, err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", time.Time{}, err
	}
	token, err := signed.CompactSerialize()
	return token, expires, err
}

// references are the claim `amr` (RFC 8176, 2; `fed` for another provider is not in
// its registry): by what the user proved who they are, sorted.
func references(methods []authz.Method) []string {
	list := make([]string, 0, 4)
	add := func(names ...string) {
		for _, name := range names {
			if !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
	}
	second := false
	for _, m := range methods {
		switch m {
		case authz.ByPassword:
			add("pwd")
		case authz.ByEmail:
			add("otp")
		case authz.ByTOTP, authz.ByRecoveryCode:
			add("otp")
			second = second || len(methods) > 1
		case authz.ByPasskey:
			add("pop") // proof of a key, by who unlocked it: two factors in one
			second = true
		case authz.ByExternal:
			add("fed")
		}
	}
	if second {
		add("mfa")
	}
	slices.Sort(list)
	return list
}

// Known is what an access token of this server says that is live by itself: what
// became of its session since is not looked at.
type Known struct {
	User       ids.User
	Session    ids.Session
	Workspace  ids.Workspace // zero for none
	Audience   string
	ExpireTime time.Time
}

const (
	// maxTokenBytes is the length above which a token is not looked at.
	maxTokenBytes = 8192
	// signatureLength is that of a signature of 64 bytes in base64url.
	signatureLength = 86
)

// Read reads an access token that this server has signed and that has not expired;
// of all else it returns nil.
func (i *Issuer) Read(ctx context.Context, token string) (*Known, error) {
	if len(token) > maxTokenBytes || strings.Count(token, ".") != 2 || len(token)-strings.LastIndexByte(token, '.')-1 != signatureLength {
		return nil, nil
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return nil, nil
	}
	header := signed.Signatures[0].Protected
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); typ != tokenType || len(header.ExtraHeaders) != 1 || header.JSONWebKey != nil {
		return nil, nil
	}
	public, err := i.ring.public(ctx, header.KeyID)
	if err != nil || public == nil {
		return nil, err
	}
	payload, err := signed.Verify(public)
	if err != nil {
		return nil, nil
	}
	return i.judge(payload), nil
}

// judge reads claims that this server has signed.
func (i *Issuer) judge(payload []byte) *Known {
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil || c.Issuer != i.options.Issuer {
		return nil
	}
	k := &Known{Audience: c.Audience, ExpireTime: time.Unix(c.Expires, 0).UTC()}
	if !i.options.Clock.Now().Before(k.ExpireTime) {
		return nil
	}
	var errs [3]error
	k.User, errs[0] = ids.Parse[ids.User](c.Subject)
	k.Session, errs[1] = ids.Parse[ids.Session](c.Session)
	if c.Workspace != "" {
		k.Workspace, errs[2] = ids.Parse[ids.Workspace](c.Workspace)
	}
	if errors.Join(errs[:]...) != nil {
		return nil
	}
	return k
}
