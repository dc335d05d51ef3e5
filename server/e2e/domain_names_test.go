package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/client"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	"github.com/logicspike/manager/internal/testkit"
)

func TestEverySpellingOfADomainIsOne(t *testing.T) {
	t.Parallel()
	srv, _ := withDNS(t, testkit.Options{})
	p := srv.Register(t)
	for want, spellings := range map[string][]string{
		"acme.com":               {"acme.com", "ACME.com", "Acme.Com", "ａcme.com", "acme\u3002com"},
		"www.acme.co.uk":         {"www.acme.co.uk", "WWW.ACME.CO.UK"},
		"xn--bcher-kva.com":      {"bücher.com", "BÜCHER.com", "xn--bcher-kva.com", "XN--BCHER-KVA.COM", "bu\u0308cher.com"},
		"xn--fiqs8s.com":         {"中国.com"},
		"acme.github.io":         {"acme.github.io"}, // below a suffix that a company keeps
		"a-b.1.acme.example.org": {"A-B.1.Acme.Example.Org"},
	} {
		first := mustCreateDomain(t, p, spellings[0])
		if first.Domain != want || first.RecordName != "_logicspike-challenge."+want {
			t.Errorf("%q is %q, with the record %q, want %q", spellings[0], first.Domain, first.RecordName, want)
		}
		for _, s := range spellings[1:] {
			d, err := createDomain(t, p, s)
			if err != nil {
				t.Errorf("%q: %v", s, err)
				continue
			}
			sameDomains(t, s, first, d)
		}
	}
	var names []string
	for _, d := range listDomains(t, p) {
		names = append(names, d.Domain)
	}
	if want := []string{
		"a-b.1.acme.example.org", "acme.com", "acme.github.io", "www.acme.co.uk", "xn--bcher-kva.com", "xn--fiqs8s.com",
	}; !slices.Equal(names, want) {
		t.Errorf("the list is %v, want %v", names, want)
	}
}

func TestSomeDomainsNobodyCanHave(t *testing.T) {
	t.Parallel()
	srv, _ := withDNS(t, testkit.Options{})
	p := srv.Register(t)
	label := strings.Repeat("a", 57) + "."
	for reason, names := range map[faultv1.Reason][]string{
		faultv1.Reason_REASON_FIELD_INVALID: {
			"acme", "localhost", "com", ".", "..", ".com", "acme.com.", "acme.com\u3002", ".acme.com", "acme..com", "*.acme.com", "*", "acme .com",
			" acme.com", "acme.com ", "acme_b.com", "_logicspike-challenge.acme.com", "-acme.com", "acme-.com", "ac!me.com", "acme.com:53", "acme.com/x",
			"https://acme.com", "ann@acme.com", "127.0.0.1", "１２７.0.0.1", "[::1]", "::1", "2001:db8::1", "xn--a.com", "acme,com", "acme.com,b.com",
			strings.Repeat("a", 64) + ".com",
			label + label + label + label + "com",          // 235: the name of its record is 257 long
			label + label + label + label[:54] + ".ex.com", // 235, too
		},
		faultv1.Reason_REASON_DOMAIN_NOT_ALLOWED: {
			// Public suffixes, of registries and of companies.
			"co.uk", "CO.UK", "com.au", "github.io", "blogspot.com", "s3.amazonaws.com", "公司.cn", "xn--55qx5d.cn", "anything.ck",
			// What is below none.
			"acme.test", "acme.example", "acme.local", "acme.internal", "acme.invalid", "acme.corp", "1.2.3",
			// Mail providers, for good and for minutes.
			"gmail.com", "GMail.com", "ｇmail.com", "mail.gmail.com", "a.b.gmail.com", "googlemail.com", "outlook.com", "hotmail.co.uk", "yahoo.com", "icloud.com",
			"proton.me", "gmx.de", "web.de", "qq.com", "mailinator.com", "sub.yopmail.com",
		},
	} {
		for _, name := range names {
			d, err := createDomain(t, p, name)
			if d != nil {
				t.Errorf("%q was created as %v", name, d)
				continue
			}
			refused(t, fmt.Sprintf("%q", name), err, connect.CodeInvalidArgument, reason)
			if fields := client.InvalidFields(err); len(fields) != 1 || fields["domain"] == "" {
				t.Errorf("%q: the error names the fields %v", name, fields)
			}
		}
	}
	longest := label + label + label + label[:53] + "." + "com" // 231
	if d, err := createDomain(t, p, longest); err != nil || len(d.RecordName) != 253 {
		t.Errorf("the longest domain: %v, %v", d, err)
	}
	if n := count(t, srv, "SELECT count(*) FROM tenant.domains"); n != 1 {
		t.Errorf("there are %d domains, want 1", n)
	}
}
