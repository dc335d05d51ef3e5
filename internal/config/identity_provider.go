package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/logicspike/manager/internal/email"
)

// IdentityProviders are the identity providers by which people sign in: one after the
// other, with white space between them, each as
//
//	NAME?KEY=VALUE&KEY=VALUE
//
// whose values are percent-encoded as in the query of a URL, so that one that holds
// `&`, `+`, `%`, `#` or white space can be written. A name is a small letter and up to 31
// small letters, digits and dashes; it is part of the redirect URI. The keys are
//
//   - preset: google, microsoft, gitlab, apple, github or oidc. Default: the name, if it
//     is one of them, else oidc.
//   - issuer: the issuer identifier of an OpenID Connect provider, or the URL of a
//     GitHub Enterprise Server. Default: the preset's own. https is required but for
//     this machine.
//   - tenant, of microsoft: common (the default), organizations, consumers, or the id or
//     domain of one tenant.
//   - client-id, and client-secret or client-secret-file, the file that holds it.
//   - team-id, key-id, and private-key or private-key-file, of apple in place of a secret.
//   - scopes, separated by spaces. Default: those that tell name and address.
//   - email-domains, separated by commas: those in which the provider's word is taken that
//     somebody has an address. Default: all.
//   - display-name: what people call it. Default: the preset's, or the name.
type IdentityProviders string

// IdentityProvider is one identity provider.
type IdentityProvider struct {
	Name         string
	DisplayName  string
	Preset       string
	Issuer       string
	ClientID     string
	ClientSecret Secret
	Scopes       []string
	EmailDomains []string
	TeamID       string
	KeyID        string
	PrivateKey   Secret
}

// preset is what is known of a provider.
type preset struct{ display, issuer string }

var presets = map[string]preset{
	"oidc":      {},
	"google":    {"Google", "https://accounts.google.com"},
	"microsoft": {"Microsoft", "https://login.microsoftonline.com/{tenant}/v2.0"},
	"gitlab":    {"GitLab", "https://gitlab.com"},
	"apple":     {"Apple", "https://appleid.apple.com"},
	"github":    {"GitHub", "https://github.com"},
}

// UnmarshalText adds providers to those that are there: a flag may be repeated. It does
// not look at them, so that no error of a parser quotes a secret; Validate does.
func (p *IdentityProviders) UnmarshalText(text []byte) error {
	*p += IdentityProviders(strings.TrimSpace(string(text)) + "\n")
	return nil
}

var (
	providerName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	tenantName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$`)
)

// maxProviders is how many identity providers there can be.
const maxProviders = 50

// Parse returns the providers, with the secrets that are in files. The error tells no
// secret.
func (p IdentityProviders) Parse() ([]IdentityProvider, error) {
	var list []IdentityProvider
	var errs []error
	for i, entry := range strings.Fields(string(p)) {
		one, err := parseProvider(entry)
		if err != nil {
			errs = append(errs, fmt.Errorf("provider %d%s: %w", i+1, called(one.Name), err))
		} else if slices.ContainsFunc(list, func(o IdentityProvider) bool { return o.Name == one.Name }) {
			errs = append(errs, fmt.Errorf("provider %d%s: another one has the name", i+1, called(one.Name)))
		}
		list = append(list, one)
	}
	if len(list) > maxProviders {
		errs = append(errs, fmt.Errorf("there are more than %d", maxProviders))
	}
	return list, errors.Join(errs...)
}

func called(name string) string {
	if name == "" {
		return ""
	}
	return " (" + name + ")"
}

func parseProvider(entry string) (IdentityProvider, error) {
	name, query, found := strings.Cut(entry, "?")
	if !found || !providerName.MatchString(name) {
		return IdentityProvider{}, errors.New("name?key=value&key=value is expected; the name is a small letter, then small letters, digits and dashes, at most 32 in all")
	}
	p := IdentityProvider{Name: name}
	values, err := url.ParseQuery(query)
	if err != nil || strings.Contains(query, "#") {
		return p, errors.New("the values must be percent-encoded, as in the query of a URL")
	}
	for key, list := range values {
		if !slices.Contains(providerKeys, key) {
			return p, fmt.Errorf("its keys are %s", strings.Join(providerKeys, ", "))
		}
		if len(list) != 1 || list[0] == "" {
			return p, fmt.Errorf("%s: one value is expected", key)
		}
	}
	return p, p.read(values)
}

var providerKeys = []string{
	"preset", "issuer", "tenant", "client-id", "client-secret", "client-secret-file", "team-id", "key-id", "private-key", "private-key-file",
	"scopes", "email-domains", "display-name",
}

// read takes the values, which are not empty.
func (p *IdentityProvider) read(values url.Values) error {
	if p.Preset = values.Get("preset"); p.Preset == "" {
		p.Preset = "oidc"
		if _, known := presets[p.Name]; known {
			p.Preset = p.Name
		}
	}
	known, ok := presets[p.Preset]
	if !ok {
		return errors.New("preset: google, microsoft, gitlab, apple, github or oidc is expected")
	}
	p.DisplayName = firstOf(values.Get("display-name"), known.display, p.Name)
	var c check
	c.name("display-name", p.DisplayName)
	if len(c.errs) > 0 {
		return errors.New("display-name: 1 to 100 characters are expected, none of them a control character")
	}
	if p.ClientID = values.Get("client-id"); p.ClientID == "" {
		return errors.New("client-id: it is required")
	}
	if err := p.readIssuer(values, known); err != nil {
		return err
	}
	p.Scopes = strings.Fields(strings.ReplaceAll(values.Get("scopes"), ",", " "))
	for domain := range strings.FieldsFuncSeq(values.Get("email-domains"), func(r rune) bool { return r == ',' || r == ' ' }) {
		domain, err := email.Domain(domain)
		if err != nil {
			return errors.New("email-domains: domains such as example.com are expected")
		}
		p.EmailDomains = append(p.EmailDomains, domain)
	}
	return p.readSecrets(values)
}

func firstOf(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

func (p *IdentityProvider) readIssuer(values url.Values, known preset) error {
	tenant := values.Get("tenant")
	if tenant != "" && (p.Preset != "microsoft" || !tenantName.MatchString(tenant)) {
		return errors.New("tenant: the id or domain of a tenant of microsoft is expected")
	}
	p.Issuer = values.Get("issuer")
	if p.Issuer == "" {
		p.Issuer = strings.ReplaceAll(known.issuer, "{tenant}", firstOf(tenant, "common"))
	} else if tenant != "" {
		return errors.New("tenant: it is part of the issuer")
	}
	u, err := url.Parse(p.Issuer)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(p.Issuer, "#") ||
		u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return errors.New("issuer: an https:// URL without user, query and fragment is expected")
	}
	if p.Preset == "microsoft" && !strings.HasSuffix(p.Issuer, "/v2.0") {
		return errors.New("issuer: one that ends with /v2.0 is expected of microsoft")
	}
	if p.Preset == "github" || p.Preset == "microsoft" {
		p.Issuer = strings.TrimRight(p.Issuer, "/")
	}
	return nil
}

// readSecrets takes what proves the server to the provider.
func (p *IdentityProvider) readSecrets(values url.Values) error {
	var err error
	if p.ClientSecret, err = secretOr(values, "client-secret"); err != nil {
		return err
	}
	if p.PrivateKey, err = secretOr(values, "private-key"); err != nil {
		return err
	}
	p.TeamID, p.KeyID = values.Get("team-id"), values.Get("key-id")
	if p.Preset == "apple" {
		if p.TeamID == "" || p.KeyID == "" || p.PrivateKey == "" || p.ClientSecret != "" {
			return errors.New("team-id, key-id and private-key are required of apple, in place of client-secret")
		}
		return nil
	}
	if p.TeamID != "" || p.KeyID != "" || p.PrivateKey != "" {
		return errors.New("team-id, key-id and private-key are for apple only")
	}
	if p.ClientSecret == "" && p.Preset != "oidc" {
		return errors.New("client-secret: it is required")
	}
	if strings.ContainsAny(string(p.ClientSecret), " \t\r\n") {
		return errors.New("client-secret: it holds white space; write + as %2B")
	}
	return nil
}

// secretOr returns the secret of a key, or the one in the file that the key with -file
// names.
func secretOr(values url.Values, key string) (Secret, error) {
	given, file := values.Get(key), values.Get(key+"-file")
	if file == "" {
		return Secret(given), nil
	}
	if given != "" {
		return "", fmt.Errorf("%s and %s-file: one of the two is expected", key, key)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s-file: %w", key, err)
	}
	return Secret(strings.TrimSpace(string(data))), nil
}

// String returns the providers as they were written, secrets redacted.
func (p IdentityProviders) String() string {
	var out []string
	for entry := range strings.FieldsSeq(string(p)) {
		name, query, found := strings.Cut(entry, "?")
		if !found || !providerName.MatchString(name) {
			out = append(out, redacted)
			continue
		}
		pairs := strings.Split(query, "&")
		for i, pair := range pairs {
			key, _, _ := strings.Cut(pair, "=")
			// What is not known to be harmless may be a misspelt secret.
			if !slices.Contains(providerKeys, key) {
				pairs[i] = redacted
			} else if key == "client-secret" || key == "private-key" {
				pairs[i] = key + "=" + redacted
			}
		}
		out = append(out, name+"?"+strings.Join(pairs, "&"))
	}
	return strings.Join(out, " ")
}

// Format prints what String returns, whatever the verb.
func (p IdentityProviders) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// LogValue returns what String returns.
func (p IdentityProviders) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalText returns what String returns.
func (p IdentityProviders) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
