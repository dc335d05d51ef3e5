package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	diffs "github.com/google/go-cmp/cmp"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
)

// TestNobodyCanTellWhoHasAnAccount sends each call that names an address for 200 known
// and 200 unknown ones, in a random order, and compares all that comes back: status,
// headers, body, and the times by a rank test, which asks whether those of one kind
// tend to be longer, however little, and is deaf to outliers.
//
// By chance one sample in a thousand looks as if there were a difference. So a finding
// must come again, in the same direction, in fresh samples: a real one would. The test
// is not parallel.
func TestNobodyCanTellWhoHasAnAccount(t *testing.T) {
	const each, batches = 200, 3
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) {
		s.Argon2Memory, s.Argon2Iterations = 1024, 1
	}})
	c := srv.Client("")
	// Each is used once in each kind of call, as an attacker with a list would.
	known := make([]string, each)
	for i := range known {
		known[i] = fmt.Sprintf("known%d@enumeration.example", i)
		if _, err := c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: known[i], Password: testkit.Password, WorkspaceName: "Acme"}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{
			Token: queued(t, srv, known[i]).Data["token"], Password: testkit.Password,
		}); err != nil {
			t.Fatal(err)
		}
	}
	unknown := 0
	address := func(isKnown bool, i int) string {
		if isKnown {
			return known[i]
		}
		unknown++
		return fmt.Sprintf("nobody%d@enumeration.example", unknown)
	}
	for _, method := range []struct {
		name, body string
		status     int
	}{
		{"auth.v1.AuthenticationService/SignInWithPassword", `{"email":"%s","password":"a wrong password"}`, http.StatusUnauthorized},
		{"auth.v1.RegistrationService/Register", `{"email":"%s","password":"tortoise-kettle-marble","workspaceName":"Acme"}`, http.StatusOK},
		{"auth.v1.PasswordService/RequestPasswordReset", `{"email":"%s"}`, http.StatusOK},
		{"auth.v1.EmailChallengeService/StartEmailSignIn", `{"email":"%s"}`, http.StatusOK},
	} {
		t.Run(method.name[strings.IndexByte(method.name, '/')+1:], func(t *testing.T) {
			var last sample
			for batch := range batches {
				var s sample
				order := make([]bool, 2*each)
				for i := range order {
					order[i] = i%2 == 0
				}
				rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
				counts := map[bool]int{}
				answers := map[bool]map[string]int{true: {}, false: {}}
				for n, isKnown := range order {
					email := address(isKnown, counts[isKnown])
					counts[isKnown]++
					status, answer, took := timed(t, srv.URL+"/logicspike."+method.name, fmt.Sprintf(method.body, email))
					if status != method.status {
						t.Fatalf("status %d: %s", status, answer)
					}
					answers[isKnown][strings.ReplaceAll(answer, email, "ADDRESS")]++
					if n >= 20 { // connections are warm then
						s.add(isKnown, took)
					}
				}
				if diff := diffs.Diff(answers[false], answers[true]); diff != "" {
					t.Fatalf("what is answered tells an account (-nobody's +somebody's):\n%s", diff)
				}
				z, shift := s.compare()
				t.Logf("batch %d: z = %.2f, medians differ by %+.0f µs of %.0f µs", batch, z, shift*1e6, s.median(false)*1e6)
				s.z, s.shift = z, shift
				// 0.1 % of samples that are alike are off by that much.
				if math.Abs(z) < 3.29 || batch > 0 && (z > 0) != (last.z > 0) {
					return
				}
				last = s
			}
			t.Errorf("the time tells an account: its median is off by %+.0f µs, in %d samples of %d", last.shift*1e6, batches, 2*each)
		})
	}
}

// sample is times, in seconds, of calls of two kinds.
type sample struct {
	known, unknown []float64
	z, shift       float64
}

func (s *sample) add(isKnown bool, took time.Duration) {
	if isKnown {
		s.known = append(s.known, took.Seconds())
	} else {
		s.unknown = append(s.unknown, took.Seconds())
	}
}

func (s *sample) median(isKnown bool) float64 {
	list := s.unknown
	if isKnown {
		list = s.known
	}
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// compare returns z of the test of Mann and Whitney, which is positive when the known
// take longer, and the difference of the medians.
func (s *sample) compare() (z, shift float64) {
	type time struct {
		seconds float64
		known   bool
	}
	var all []time
	for _, x := range s.known {
		all = append(all, time{x, true})
	}
	for _, x := range s.unknown {
		all = append(all, time{x, false})
	}
	slices.SortFunc(all, func(a, b time) int { return cmp.Compare(a.seconds, b.seconds) })
	ranks := 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].seconds == all[i].seconds {
			j++
		}
		for k := i; k < j; k++ {
			if all[k].known {
				ranks += float64(i+j+1) / 2 // the mean rank of those that are alike
			}
		}
		i = j
	}
	m, n := float64(len(s.known)), float64(len(s.unknown))
	u := ranks - m*(m+1)/2
	return (u - m*n/2) / math.Sqrt(m*n*(m+n+1)/12), s.median(true) - s.median(false)
}

var (
	varying  = regexp.MustCompile(`_[0-7][0-9a-hjkmnp-tv-z]{25}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z|lsm[a-z]_[A-Za-z0-9_-]{43}`)
	unstable = []string{"Date", "X-Request-Id"}
)

// timed sends a call, and returns the status, all of the answer but ids and times, and
// how long it took.
func timed(t testing.TB, url, body string) (status int, answer string, took time.Duration) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	began := time.Now()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(res.Body)
	took = time.Since(began)
	_ = res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range unstable {
		res.Header.Del(name)
	}
	res.Header.Del("Content-Length") // it follows from the body
	var compact bytes.Buffer
	if err := json.Compact(&compact, content); err != nil { // protojson varies its spaces
		t.Fatalf("%v: %s", err, content)
	}
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(res.Header)) {
		fmt.Fprintf(&all, "%s: %s\n", name, varying.ReplaceAllString(strings.Join(res.Header[name], ", "), "…"))
	}
	all.Write(varying.ReplaceAll(compact.Bytes(), []byte("…")))
	return res.StatusCode, all.String(), took
}
