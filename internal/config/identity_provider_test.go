package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/logicspike/manager/internal/config"
)

// badProviders are values that the setting identity-providers refuses. file exists and
// is empty.
func badProviders(file string) [][]string {
	const good = "client-id=i&client-secret=hunter2"
	var list [][]string
	for _, value := range []string{
		"google", "Google?" + good, "?" + good, "9?" + good, strings.Repeat("a", 33) + "?issuer=https://i.example&" + good,
		"google?client-secret=hunter2", "google?client-id=i", "google?client-id=i&client-secret=",
		"google?client-secret=hunter2&client-id=%zz", "google?client-id=i&client-secret=hunter2&client-secret=hunter2",
		"google?client-id=i&client-secrets=hunter2", "google?client-id=i&client-secret=hunter2+x", "google?client-id=i&client-secret=hunter2#x",
		"google?client-id=i&client-secret=hunter2&client-secret-file=" + file, "google?client-id=i&client-secret-file=" + file,
		"google?client-id=i&client-secret-file=/none/such", "x?preset=facebook&" + good,
		"acme?" + good, "acme?issuer=http://id.example&" + good, "acme?issuer=https://u:hunter2@id.example&" + good,
		"acme?issuer=https://id.example?q&" + good, "acme?issuer=https://id.example%23f&" + good, "acme?issuer=ftp://id.example&" + good,
		"acme?issuer=https://id.example&tenant=x&" + good, "microsoft?tenant=a/b&" + good, "microsoft?tenant=x&issuer=https://m.example/y/v2.0&" + good,
		"microsoft?issuer=https://m.example/y&" + good, "google?team-id=t&" + good, "google?display-name=%00&" + good,
		"google?email-domains=nothing&" + good, "apple?" + good, "apple?client-id=i&team-id=t&key-id=k", "apple?client-id=i&team-id=t&private-key=hunter2",
		"google?" + good + " google?" + good, strings.Repeat("google?"+good+" ", 51),
	} {
		list = append(list, []string{value})
	}
	return list
}

func TestIdentityProvidersAreRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("of-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	unset(t)
	s, _, err := parse(t,
		"--identity-providers=google?client-id=g&client-secret=a%2Bb%26c  microsoft?tenant=organizations&client-id=m&client-secret-file="+file,
		"--identity-providers=corp?preset=microsoft&tenant=corp.example&client-id=m&client-secret=s&display-name=Corp+SSO",
		"--identity-providers=github?client-id=h&client-secret=s&scopes=read:user,user:email",
		"--identity-providers=gitlab?issuer=https://git.example&client-id=l&client-secret=s&scopes=openid+email",
		"--identity-providers=apple?client-id=a&team-id=t&key-id=k&private-key-file="+file,
		"--identity-providers=acme?issuer=http://localhost:9000/realms/x/&client-id=i&email-domains=Acme.Example,b%C3%BCcher.example")
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.IdentityProviders.Parse()
	if err != nil {
		t.Fatal(err)
	}
	want := []config.IdentityProvider{
		{Name: "google", DisplayName: "Google", Preset: "google", Issuer: "https://accounts.google.com", ClientID: "g", ClientSecret: "a+b&c"},
		{Name: "microsoft", DisplayName: "Microsoft", Preset: "microsoft", Issuer: "https://login.microsoftonline.com/organizations/v2.0", ClientID: "m", ClientSecret: "of-a-file"},
		{Name: "corp", DisplayName: "Corp SSO", Preset: "microsoft", Issuer: "https://login.microsoftonline.com/corp.example/v2.0", ClientID: "m", ClientSecret: "s"},
		{Name: "github", DisplayName: "GitHub", Preset: "github", Issuer: "https://github.com", ClientID: "h", ClientSecret: "s", Scopes: []string{"read:user", "user:email"}},
		{Name: "gitlab", DisplayName: "GitLab", Preset: "gitlab", Issuer: "https://git.example", ClientID: "l", ClientSecret: "s", Scopes: []string{"openid", "email"}},
		{Name: "apple", DisplayName: "Apple", Preset: "apple", Issuer: "https://appleid.apple.com", ClientID: "a", TeamID: "t", KeyID: "k", PrivateKey: "of-a-file"},
		{Name: "acme", DisplayName: "acme", Preset: "oidc", Issuer: "http://localhost:9000/realms/x/", ClientID: "i", EmailDomains: []string{"acme.example", "xn--bcher-kva.example"}},
	}
	unsecret := cmp.Transformer("reveal", func(s config.Secret) string { return s.Reveal() })
	if diff := cmp.Diff(want, got, unsecret, emptyIsNil); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, one := range []string{s.String(), s.IdentityProviders.String()} {
		if strings.Contains(one, "a%2Bb") || !strings.Contains(one, "client-id=g&client-secret=[redacted]") {
			t.Errorf("printed: %s", one)
		}
	}
	// What is not understood may be a secret.
	if odd := config.IdentityProviders("hunter2 google?hunter2&client-secrets=hunter2 x?client-id=i"); odd.String() != "[redacted] google?[redacted]&[redacted] x?client-id=i" {
		t.Errorf("printed: %s", odd)
	}
}

// emptyIsNil makes an empty list the same as none.
var emptyIsNil = cmp.Transformer("list", func(l []string) string { return strings.Join(l, "\n") })
