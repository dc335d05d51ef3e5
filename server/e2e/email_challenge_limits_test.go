package e2e

import (
	"fmt"
	"math"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
)

// TestSignInsByMailAreLimited for the address: the mails, and the wrong codes of all of
// them together.
func TestSignInsByMailAreLimited(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Limited: true, WithoutJobs: true, Settings: func(s *config.Settings) { s.EmailVerification = config.VerifyAfter }})
	p := newPerson(t, srv)
	(&world{t: t, srv: srv}).prove(p)
	for what, email := range map[string]string{"an account's address": p.Email, "nobody's address": testkit.NewEmail()} {
		ask := func(from string) (*authv1.StartEmailSignInResponse, error) {
			ctx, info := connect.NewClientContext(t.Context())
			info.RequestHeader().Set("X-Forwarded-For", from)
			return factorsOf(srv, "").StartEmailSignIn(ctx, &authv1.StartEmailSignInRequest{Email: email})
		}
		asked := 0
		for {
			if _, err := ask("203.0.113.7"); err != nil {
				if reasonOf(err) != "RATE_LIMITED" || client.RetryAfter(err) <= 0 {
					t.Errorf("%s: a further mail: %v", what, err)
				}
				break
			}
			asked++
		}
		if asked < 5 || asked > 6 { // one was mailed at registration
			t.Errorf("%s: one network asked for %d mails", what, asked)
		}
		if _, err := ask("203.0.113.8"); err != nil {
			t.Errorf("%s: a mail that another network asks for: %v", what, err)
		}
		// 100 wrong codes a day, whoever asked for them.
		evaluated, i := 0, 0
		for ; i < 60; i++ {
			srv.Clock.Advance(10 * time.Minute)
			res, err := ask(fmt.Sprintf("198.51.100.%d", i))
			if err != nil {
				t.Fatal(err)
			}
			limited := false
			for range 5 {
				_, err := completeEmail(t, srv, &authv1.CompleteEmailSignInRequest{EmailChallengeId: res.EmailChallengeId, Code: "000000", BindingToken: res.BindingToken})
				switch reasonOf(err) {
				case "CODE_INVALID":
					evaluated++
				case "RATE_LIMITED":
					limited = true
				default:
					t.Fatalf("%s: a wrong code: %v", what, err)
				}
			}
			if limited {
				break
			}
		}
		// Meanwhile some became free again: one each quarter of an hour.
		if evaluated < 100 || evaluated > 100+i {
			t.Errorf("%s: %d wrong codes were evaluated in %d mails", what, evaluated, i)
		}
	}
}

// TestASignInByMailTellsNoAccount compares what StartEmailSignIn answers, and how long
// it takes, for an address that has an account and for ones that have none: 200 calls
// of each, in turns. Their times are ranked together; were they of one kind, the sum
// of the ranks of one half would be further than 3.3 standard deviations from the
// expected one once in a thousand times (Mann and Whitney's test). A difference that
// is real stays when it is measured anew. The test is not parallel.
func TestASignInByMailTellsNoAccount(t *testing.T) {
	const rounds, batches, limit = 200, 4, 3.3
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) { s.EmailVerification = config.VerifyAfter }})
	p := newPerson(t, srv)
	(&world{t: t, srv: srv}).prove(p)
	c := factorsOf(srv, "")
	for what, call := range map[string]func(email string) time.Duration{
		"StartEmailSignIn": func(email string) time.Duration {
			began := time.Now()
			res, err := c.StartEmailSignIn(t.Context(), &authv1.StartEmailSignInRequest{Email: email})
			took := time.Since(began)
			if err != nil || len(res.BindingToken) != 48 {
				t.Fatalf("StartEmailSignIn = %v, %v", res, err)
			}
			return took
		},
		"CompleteEmailSignIn": func(email string) time.Duration {
			res, err := c.StartEmailSignIn(t.Context(), &authv1.StartEmailSignInRequest{Email: email})
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, err = c.CompleteEmailSignIn(t.Context(), &authv1.CompleteEmailSignInRequest{EmailChallengeId: res.EmailChallengeId, Code: "000000", BindingToken: res.BindingToken})
			took := time.Since(began)
			codeInvalid(t, "a wrong code", err)
			return took
		},
	} {
		for range 20 {
			call(p.Email)
		}
		var scores []float64
		for range batches {
			var known, unknown []time.Duration
			// Both have as many challenges: one address each, and all of the batch.
			nobody := testkit.NewEmail()
			if _, err := srv.SQL.Exec(t.Context(), "DELETE FROM auth.email_challenges"); err != nil {
				t.Fatal(err)
			}
			for i := range rounds {
				if i%2 == 0 {
					known = append(known, call(p.Email))
					unknown = append(unknown, call(nobody))
				} else {
					unknown = append(unknown, call(nobody))
					known = append(known, call(p.Email))
				}
			}
			scores = append(scores, rankScore(known, unknown))
			if math.Abs(scores[len(scores)-1]) < limit {
				break
			}
		}
		t.Logf("%s: scores %.2f", what, scores)
		if math.Abs(scores[len(scores)-1]) >= limit {
			t.Errorf("%s tells an account by the time it takes: scores %.2f", what, scores)
		}
	}
}

// rankScore is how many standard deviations the ranks of one sample are from those of
// two samples of one kind.
func rankScore(a, b []time.Duration) float64 {
	wins := 0.0
	for _, x := range a {
		for _, y := range b {
			switch {
			case x > y:
				wins++
			case x == y:
				wins += 0.5
			}
		}
	}
	n, m := float64(len(a)), float64(len(b))
	return (wins - n*m/2) / math.Sqrt(n*m*(n+m+1)/12)
}
