package external

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// Microsoft's issuer is one for each tenant. The metadata of an application for many
// tenants (`common`, `organizations`) name it with {tenantid} in the tenant's place; those
// of one tenant with its id, whatever the tenant is called in the configured URL.

// consumers is the tenant of personal accounts.
const consumers = "9188040d-6c67-4c5b-b112-36a304b66dad"

var tenantID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// tenantOf returns the tenant in an issuer that differs from the configured one in the
// tenant alone; "" for any other.
func (o *openID) tenantOf(issuer string) string {
	base, found := strings.CutSuffix(o.config.Issuer, "/v2.0")
	at := strings.LastIndexByte(base, '/')
	if !found || at < 0 {
		return ""
	}
	rest, found := strings.CutPrefix(issuer, base[:at+1])
	tenant, ends := strings.CutSuffix(rest, "/v2.0")
	if !found || !ends || tenant != tenantPattern && !tenantID.MatchString(tenant) {
		return ""
	}
	return tenant
}

// microsoftIssuer reports whether an issuer differs from the configured one in the
// tenant alone.
func (o *openID) microsoftIssuer(issuer string) bool { return o.tenantOf(issuer) != "" }

// checkMicrosoft checks that an ID token is of the issuer of the tenant that it names,
// signed with a key of that issuer.
func (o *openID) checkMicrosoft(ctx context.Context, m *metadata, raw string, id *oidc.IDToken, claims *idClaims) error {
	if !tenantID.MatchString(claims.TenantID) || id.Issuer != strings.ReplaceAll(m.Issuer, tenantPattern, claims.TenantID) {
		return errors.New("the ID token is of another issuer")
	}
	if strings.HasSuffix(o.config.Issuer, "/organizations/v2.0") && claims.TenantID == consumers {
		return errors.New("the ID token is of a personal account")
	}
	issuer, err := o.keyIssuer(ctx, m, raw)
	if err != nil {
		return err
	}
	if issuer != "" && strings.ReplaceAll(issuer, tenantPattern, claims.TenantID) != id.Issuer {
		return errors.New("the ID token is signed with a key of another issuer")
	}
	return nil
}

// keyIssuer returns the issuer that a token's key belongs to; "" when the provider does
// not say.
func (o *openID) keyIssuer(ctx context.Context, m *metadata, raw string) (string, error) {
	token, err := jose.ParseSigned(raw, []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	})
	if err != nil {
		return "", err
	}
	kid := token.Signatures[0].Header.KeyID
	m.keyIssuersFetched.Lock()
	defer m.keyIssuersFetched.Unlock()
	if issuer, known := m.keyIssuers[kid]; known {
		return issuer, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.JWKS, nil)
	if err != nil {
		return "", err
	}
	var set struct {
		Keys []struct {
			ID     string `json:"kid"`
			Issuer string `json:"issuer"`
		} `json:"keys"`
	}
	if err := getJSON(o.client, req, &set); err != nil {
		return "", err
	}
	m.keyIssuers = map[string]string{}
	for _, k := range set.Keys {
		m.keyIssuers[k.ID] = k.Issuer
	}
	issuer, known := m.keyIssuers[kid]
	if !known {
		return "", errors.New("the ID token is signed with a key of nobody")
	}
	return issuer, nil
}

// getJSON sends a request, and reads the JSON that answers it.
func getJSON(client *http.Client, req *http.Request, into any) error {
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return &statusError{req.URL.Path, res.StatusCode}
	}
	return json.NewDecoder(res.Body).Decode(into)
}
