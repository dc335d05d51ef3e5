package passkey_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/logicspike/manager/internal/testkit/fake"
	"github.com/logicspike/manager/server/auth/passkey"
)

const origin = "https://accounts.example.com"

func newParty(t testing.TB) *passkey.Party {
	t.Helper()
	p, err := passkey.New(passkey.Options{
		ID: "example.com", Name: "Acme", Origins: []string{origin, "https://example.com:8443"}, Timeout: 5 * time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var ann = passkey.User{Handle: []byte("0123456789abcdef"), Name: "ann@example.com", DisplayName: "Ann"}

// registered returns a passkey of ann's, and what is kept of it.
func registered(t testing.TB, p *passkey.Party, alg int, changes ...func(*fake.Passkey)) (*fake.Passkey, passkey.Credential) {
	t.Helper()
	options, state, err := p.Creation(ann, nil)
	if err != nil {
		t.Fatal(err)
	}
	key := fake.NewPasskey(t, origin, alg)
	for _, change := range changes {
		change(key)
	}
	c, err := p.Register(ann, state, key.Create(t, options))
	if err != nil {
		t.Fatal(err)
	}
	return key, *c
}

func object(t testing.TB, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTheOptionsAskForDiscoverablePasskeysThatVerifyTheirUser(t *testing.T) {
	p := newParty(t)
	known := passkey.Credential{ID: bytes.Repeat([]byte{7}, 16), Transports: []string{"internal"}}
	options, _, err := p.Creation(ann, []passkey.Credential{known})
	if err != nil {
		t.Fatal(err)
	}
	got := object(t, options)
	challenge, _ := base64.RawURLEncoding.DecodeString(got["challenge"].(string))
	if len(challenge) < 32 {
		t.Errorf("a challenge of %d bytes", len(challenge))
	}
	delete(got, "challenge")
	descriptors := []any{map[string]any{"type": "public-key", "id": "BwcHBwcHBwcHBwcHBwcHBw", "transports": []any{"internal"}}}
	want := map[string]any{
		"rp":   map[string]any{"id": "example.com", "name": "Acme"},
		"user": map[string]any{"id": "MDEyMzQ1Njc4OWFiY2RlZg", "name": "ann@example.com", "displayName": "Ann"},
		"pubKeyCredParams": []any{
			map[string]any{"type": "public-key", "alg": -8.0}, map[string]any{"type": "public-key", "alg": -7.0},
			map[string]any{"type": "public-key", "alg": -257.0},
		},
		"timeout": 300000.0, "attestation": "none", "excludeCredentials": descriptors,
		"authenticatorSelection": map[string]any{"residentKey": "required", "requireResidentKey": true, "userVerification": "required"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("options to create (-want +got):\n%s", diff)
	}
	for allowed, want := range map[*passkey.Credential]map[string]any{
		nil:    {"rpId": "example.com", "timeout": 300000.0, "userVerification": "required"},
		&known: {"rpId": "example.com", "timeout": 300000.0, "userVerification": "required", "allowCredentials": descriptors},
	} {
		var list []passkey.Credential
		if allowed != nil {
			list = append(list, *allowed)
		}
		options, _, err := p.Request(list)
		if err != nil {
			t.Fatal(err)
		}
		got := object(t, options)
		delete(got, "challenge")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("options to get (-want +got):\n%s", diff)
		}
	}
}

func TestPasskeysOfEveryAlgorithmRegisterAndAnswer(t *testing.T) {
	p := newParty(t)
	for _, alg := range []int{fake.ES256, fake.EdDSA, fake.RS256} {
		key, c := registered(t, p, alg, func(k *fake.Passkey) {
			k.Count, k.Flags = 5, k.Flags|fake.BackupEligible
		})
		if !bytes.Equal(c.ID, key.ID) || c.SignCount != 5 || !c.BackupEligible || c.BackedUp || c.AAGUID != uuid.UUID(key.AAGUID) ||
			!slices.Equal(c.Transports, []string{"hybrid", "internal"}) {
			t.Errorf("%d: %+v", alg, c)
		}
		for _, allowed := range [][]passkey.Credential{nil, {c}} {
			options, state, err := p.Request(allowed)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := passkey.Read(key.Get(t, options, func(c *fake.Ceremony) { c.Flags |= fake.BackedUp }))
			if err != nil {
				t.Fatal(err)
			}
			use, err := p.Verify(state, ann.Handle, c, answer)
			if err != nil || !bytes.Equal(answer.CredentialID(), c.ID) || use.SignCount != key.Count || !use.BackedUp {
				t.Errorf("%d: Verify = %+v, %v", alg, use, err)
			}
		}
	}
}

func TestSelfAttestationIsJudgedThoughNobodyAskedForIt(t *testing.T) {
	p := newParty(t)
	for _, forged := range []bool{false, true} {
		options, state, err := p.Creation(ann, nil)
		if err != nil {
			t.Fatal(err)
		}
		key := fake.NewPasskey(t, origin, fake.ES256)
		_, err = p.Register(ann, state, key.Create(t, options, func(c *fake.Ceremony) {
			c.Format = "packed"
			if forged {
				other := fake.NewPasskey(t, origin, fake.ES256)
				c.COSE = other.PublicKey()
			}
		}))
		if (err != nil) != forged {
			t.Errorf("forged %v: %v", forged, err)
		}
	}
}

// data changes what the browser tells.
func data(name string, value any) func(*fake.Ceremony) {
	return func(c *fake.Ceremony) { c.ClientData[name] = value }
}

// forgeries are what neither ceremony accepts.
var forgeries = map[string]func(*fake.Ceremony){
	"another challenge":           data("challenge", base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))),
	"no challenge":                func(c *fake.Ceremony) { delete(c.ClientData, "challenge") },
	"an empty challenge":          data("challenge", ""),
	"a challenge that is no text": data("challenge", 1),
	"another origin":              data("origin", "https://evil.example"),
	"a subdomain's origin":        data("origin", "https://evil.example.com"),
	"the origin in another port":  data("origin", origin+":444"),
	"the origin without TLS":      data("origin", strings.Replace(origin, "https", "http", 1)),
	"an origin that begins alike": data("origin", origin+".evil.example"),
	"an origin with a user":       data("origin", "https://accounts.example.com@evil.example"),
	"an app's origin":             data("origin", "android:apk-key-hash:AAAA"),
	"no origin":                   data("origin", ""),
	"another type":                data("type", "payment.get"),
	"no type":                     data("type", ""),
	"a frame of another origin":   data("crossOrigin", true),
	"a frame in another page":     func(c *fake.Ceremony) { data("crossOrigin", true)(c); data("topOrigin", "https://evil.example")(c) },
	"a frame in our own page":     func(c *fake.Ceremony) { data("crossOrigin", true)(c); data("topOrigin", origin)(c) },
	"a page above without frame":  data("topOrigin", "https://evil.example"),
	"another relying party":       func(c *fake.Ceremony) { c.RPID = "evil.example" },
	"a host of the domain":        func(c *fake.Ceremony) { c.RPID = "accounts.example.com" },
	"an absent user":              func(c *fake.Ceremony) { c.Flags &^= fake.UserPresent },
	"an unverified user":          func(c *fake.Ceremony) { c.Flags &^= fake.UserVerified },
	"backed up, and not eligible": func(c *fake.Ceremony) { c.Flags |= fake.BackedUp },
	"more data":                   func(c *fake.Ceremony) { c.Extra = []byte{0} },
	"extensions that are no CBOR": func(c *fake.Ceremony) { c.Flags |= 1 << 7; c.Extra = []byte{0xff} },
	"extensions without end":      func(c *fake.Ceremony) { c.Flags |= 1 << 7; c.Extra = []byte{0xbf} },
	"another kind of credential":  sent(func(credential, _ map[string]any) { credential["type"] = "password" }),
	"no kind":                     sent(func(credential, _ map[string]any) { delete(credential, "type") }),
	"no id":                       sent(func(credential, _ map[string]any) { delete(credential, "id") }),
	"another raw id":              sent(func(credential, _ map[string]any) { credential["rawId"] = "AAAAAAAAAAAAAAAAAAAAAA" }),
	"no response":                 sent(func(credential, _ map[string]any) { delete(credential, "response") }),
	"a response of another kind":  sent(func(credential, _ map[string]any) { credential["response"] = []any{1} }),
	"client data that is no JSON": sent(func(_, response map[string]any) { response["clientDataJSON"] = "AAAA" }),
	"client data that is a list":  sent(func(_, response map[string]any) { response["clientDataJSON"] = "W10" }),
	"client data without end": sent(func(_, response map[string]any) {
		response["clientDataJSON"] = base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("[", 10_000)))
	}),
	"client data in other base64": sent(func(_, response map[string]any) { response["clientDataJSON"] = "++//" }),
	"client data of another":      sent(func(_, response map[string]any) { delete(response, "clientDataJSON") }),
}

// sent changes what is sent once it was signed.
func sent(change func(credential, response map[string]any)) func(*fake.Ceremony) {
	return func(c *fake.Ceremony) { c.Send = change }
}

func TestForgedRegistrationsAreRefused(t *testing.T) {
	p := newParty(t)
	all := maps.Clone(forgeries)
	cose := func(fields map[int]any) func(*fake.Ceremony) {
		return func(c *fake.Ceremony) { c.COSE = fake.CBOR(t, fields) }
	}
	some := bytes.Repeat([]byte{9}, 32)
	maps.Copy(all, map[string]func(*fake.Ceremony){
		"an assertion's type":           data("type", "webauthn.get"),
		"an id that is too short":       func(c *fake.Ceremony) { c.ID = c.ID[:15] },
		"no id at all":                  func(c *fake.Ceremony) { c.ID = []byte{} },
		"an id that is too long":        func(c *fake.Ceremony) { c.ID = bytes.Repeat([]byte{1}, 1024) },
		"an algorithm not offered":      cose(map[int]any{1: 2, 3: -35, -1: 2, -2: bytes.Repeat([]byte{1}, 48), -3: bytes.Repeat([]byte{2}, 48)}),
		"RSA with SHA-1":                cose(map[int]any{1: 3, 3: -65535, -1: bytes.Repeat([]byte{0xff}, 256), -2: []byte{1, 0, 1}}),
		"a weak RSA key":                cose(map[int]any{1: 3, 3: -257, -1: bytes.Repeat([]byte{0xff}, 128), -2: []byte{1, 0, 1}}),
		"an RSA key of 160,000 bits":    cose(map[int]any{1: 3, 3: -257, -1: bytes.Repeat([]byte{0xff}, 20_000), -2: []byte{1, 0, 1}}),
		"an RSA key that only says 1":   cose(map[int]any{1: 3, 3: -257, -1: bytes.Repeat([]byte{0xff}, 256), -2: []byte{1}}),
		"ES256 on another curve":        cose(map[int]any{1: 2, 3: -7, -1: 2, -2: some, -3: some}),
		"a point that is not on it":     cose(map[int]any{1: 2, 3: -7, -1: 1, -2: some, -3: some}),
		"EdDSA on another curve":        cose(map[int]any{1: 1, 3: -8, -1: 7, -2: some}),
		"EdDSA with half a key":         cose(map[int]any{1: 1, 3: -8, -1: 6, -2: some[:16]}),
		"ES256 with a key of EdDSA":     cose(map[int]any{1: 1, 3: -7, -1: 6, -2: some}),
		"a key of no kind":              cose(map[int]any{3: -7}),
		"a key that is a list":          func(c *fake.Ceremony) { c.COSE = fake.CBOR(t, []int{1}) },
		"a key that is no CBOR":         func(c *fake.Ceremony) { c.COSE = []byte{0xff, 0xff} },
		"a key that claims a terabyte":  func(c *fake.Ceremony) { c.COSE = []byte{0xa1, 0x01, 0x5b, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff} },
		"a key of a million keys":       func(c *fake.Ceremony) { c.COSE = []byte{0xba, 0x00, 0x0f, 0xff, 0xff} },
		"a key in a thousand lists":     func(c *fake.Ceremony) { c.COSE = bytes.Repeat([]byte{0x81}, 1000) },
		"an attestation of no format":   func(c *fake.Ceremony) { c.Format = "made-up" },
		"an attestation of a TPM":       func(c *fake.Ceremony) { c.Format = "tpm" },
		"an attestation by Android":     func(c *fake.Ceremony) { c.Format = "android-safetynet" },
		"no attestation object":         sent(func(_, response map[string]any) { delete(response, "attestationObject") }),
		"an attestation that is no map": sent(func(_, response map[string]any) { response["attestationObject"] = "gQE" }),
		"half an attestation": sent(func(_, response map[string]any) {
			s := response["attestationObject"].(string)
			response["attestationObject"] = s[:len(s)/2]
		}),
	})
	for name, forge := range all {
		options, state, err := p.Creation(ann, nil)
		if err != nil {
			t.Fatal(err)
		}
		key := fake.NewPasskey(t, origin, fake.ES256)
		if c, err := p.Register(ann, state, key.Create(t, options, forge)); !errors.Is(err, passkey.ErrAnswer) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	options, state, _ := p.Creation(ann, nil)
	if c, err := p.Register(passkey.User{Handle: []byte("somebody else")}, state, fake.NewPasskey(t, origin, fake.ES256).Create(t, options)); !errors.Is(err, passkey.ErrAnswer) {
		t.Errorf("for another user: %+v, %v", c, err)
	}
}

func TestForgedAnswersAreRefused(t *testing.T) {
	p := newParty(t)
	all := maps.Clone(forgeries)
	flip := func(name string, at int) func(*fake.Ceremony) {
		return sent(func(_, response map[string]any) {
			b, err := base64.RawURLEncoding.DecodeString(response[name].(string))
			if err != nil {
				t.Fatal(err)
			}
			b[(at+len(b))%len(b)] ^= 1
			response[name] = base64.RawURLEncoding.EncodeToString(b)
		})
	}
	maps.Copy(all, map[string]func(*fake.Ceremony){
		"a registration's type":        data("type", "webauthn.create"),
		"a signature that is altered":  flip("signature", -1),
		"no signature":                 sent(func(_, response map[string]any) { response["signature"] = "" }),
		"a count that is altered":      flip("authenticatorData", 36),
		"flags that are altered":       flip("authenticatorData", 32),
		"client data that is altered":  flip("clientDataJSON", -2),
		"data that is too short":       sent(func(_, response map[string]any) { response["authenticatorData"] = "AAAA" }),
		"another user's handle":        func(c *fake.Ceremony) { c.Handle = []byte("somebody else") },
		"an eligibility that is new":   func(c *fake.Ceremony) { c.Flags |= fake.BackupEligible },
		"the id of another credential": func(c *fake.Ceremony) { c.ID = bytes.Repeat([]byte{1}, 32) },
	})
	for _, alg := range []int{fake.ES256, fake.EdDSA} {
		key, c := registered(t, p, alg)
		for name, forge := range all {
			for _, allowed := range [][]passkey.Credential{nil, {c}} {
				options, state, err := p.Request(allowed)
				if err != nil {
					t.Fatal(err)
				}
				answer, err := passkey.Read(key.Get(t, options, forge))
				if err == nil {
					_, err = p.Verify(state, ann.Handle, c, answer)
				}
				if !errors.Is(err, passkey.ErrAnswer) {
					t.Errorf("%s (%d asked): %v", name, len(allowed), err)
				}
			}
		}
		for _, allowed := range [][]passkey.Credential{nil, {c}} { // the handle may be left out only where it is known who answers
			options, state, err := p.Request(allowed)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := passkey.Read(key.Get(t, options, func(c *fake.Ceremony) { c.Handle = nil }))
			if err != nil {
				t.Fatal(err)
			}
			if _, err = p.Verify(state, ann.Handle, c, answer); (err == nil) != (allowed != nil) {
				t.Errorf("no handle (%d asked): %v", len(allowed), err)
			}
		}
		other, _ := registered(t, p, alg)
		options, state, _ := p.Request(nil)
		answer, err := passkey.Read(other.Get(t, options, func(c *fake.Ceremony) { c.ID = key.ID }))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Verify(state, ann.Handle, c, answer); !errors.Is(err, passkey.ErrAnswer) {
			t.Errorf("signed by another key: %v", err)
		}
		_, asked := registered(t, p, alg)
		options, state, _ = p.Request([]passkey.Credential{asked})
		if answer, err = passkey.Read(key.Get(t, options)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Verify(state, ann.Handle, c, answer); !errors.Is(err, passkey.ErrAnswer) {
			t.Errorf("a passkey that was not asked: %v", err)
		}
	}
}

func TestWhatClientsTellUnaskedIsPassedOver(t *testing.T) {
	p := newParty(t)
	options, state, err := p.Creation(ann, nil)
	if err != nil {
		t.Fatal(err)
	}
	tell := sent(func(credential, response map[string]any) {
		credential["clientExtensionResults"] = map[string]any{"credProps": map[string]any{"rk": true}, "made-up": 1}
		response["transports"] = []string{"internal", "made-up", "usb", "usb"}
	})
	key := fake.NewPasskey(t, origin, fake.ES256)
	c, err := p.Register(ann, state, key.Create(t, options, tell))
	if err != nil || !slices.Equal(c.Transports, []string{"usb", "internal"}) {
		t.Errorf("Register = %+v, %v", c, err)
	}
}

func TestOriginsAreOfTheDomain(t *testing.T) {
	for _, o := range []passkey.Options{
		{ID: "example.com", Origins: []string{"https://example.org"}},
		{ID: "example.com", Origins: []string{"https://badexample.com"}},
		{ID: "accounts.example.com", Origins: []string{"https://example.com"}},
		{ID: "192.0.2.1", Origins: []string{"https://192.0.2.1"}},
		{ID: "", Origins: []string{"https://example.com"}},
		{ID: "example.com"},
	} {
		o.Name = "Acme"
		if _, err := passkey.New(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	p := newParty(f)
	options, state, err := p.Creation(ann, nil)
	if err != nil {
		f.Fatal(err)
	}
	key, c := registered(f, p, fake.EdDSA)
	f.Add(key.Create(f, options))
	f.Add(key.Create(f, options, func(c *fake.Ceremony) { c.Format = "packed" }))
	request, asked, err := p.Request(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(key.Get(f, request))
	f.Add("null")
	f.Add("{}{}")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := p.Register(ann, state, text); err != nil && !errors.Is(err, passkey.ErrAnswer) {
			t.Errorf("Register: %v", err)
		}
		answer, err := passkey.Read(text)
		if err == nil {
			_, err = p.Verify(asked, ann.Handle, c, answer)
		}
		if err != nil && !errors.Is(err, passkey.ErrAnswer) {
			t.Errorf("Verify: %v", err)
		}
	})
}
