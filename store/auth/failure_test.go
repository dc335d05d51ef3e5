package auth_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/postgres"
)

func newFailures(t *testing.T, c *stopped) auth.Failures {
	t.Helper()
	db, err := postgres.Open(postgres.Options{URL: testkit.NewDatabase(t), MaxConnections: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return auth.NewFailures(auth.New(db.Bun, postgres.NewPager(secret.NewKey())), c)
}

// begin counts a try.
func begin(t *testing.T, f auth.Failures, key string, b auth.Backoff) error {
	_, err := f.Begin(context.WithoutCancel(t.Context()), key, b)
	return err
}

// until goes on with failures, each as soon as it may be, until a time, and returns how
// many there were.
func until(t *testing.T, f auth.Failures, c *stopped, key string, b auth.Backoff, end time.Time) (count int) {
	t.Helper()
	for c.now.Before(end) {
		switch wait := waits(t, begin(t, f, key, b))[0]; wait {
		case 0:
			count++
		default:
			c.now = c.now.Add(wait)
		}
	}
	return count
}

func TestFailuresInARowAreFollowedByLongerAndLongerDelays(t *testing.T) {
	t.Parallel()
	c := newClock()
	f := newFailures(t, c)
	b := auth.Backoff{Free: 3, First: time.Second, Max: 10 * time.Second}
	one := func() error { return begin(t, f, "key", b) }
	same(t, "free ones, then one too many", waits(t, one(), one(), one(), one()), 0, 0, 0, time.Second)
	for _, wait := range []time.Duration{2, 4, 8, 10, 10} {
		c.now = c.now.Add(waits(t, one())[0])
		same(t, "after the delay", waits(t, one(), one()), 0, wait*time.Second)
	}
	// Others are not concerned.
	same(t, "another key", waits(t, begin(t, f, "other", b)), 0)

	// One that was none gives its delay back, and its place.
	c.now = c.now.Add(10 * time.Second)
	try, err := f.Begin(t.Context(), "key", b)
	same(t, "a try", waits(t, err), 0)
	if err := f.Return(t.Context(), try); err != nil {
		t.Fatal(err)
	}
	same(t, "the try again", waits(t, one(), one()), 0, 10*time.Second)
	// But not the delay that another one brought about.
	try, err = f.Begin(t.Context(), "two", b)
	same(t, "a try beside others", waits(t, err, begin(t, f, "two", b), begin(t, f, "two", b)), 0, 0, 0)
	if err := f.Return(t.Context(), try); err != nil {
		t.Fatal(err)
	}
	same(t, "after its return", waits(t, begin(t, f, "two", b)), time.Second)

	if err := f.Succeed(t.Context(), "key", "nobody's"); err != nil {
		t.Fatal(err)
	}
	same(t, "after a success", waits(t, one(), one(), one(), one()), 0, 0, 0, time.Second)
	c.now = c.now.Add(24 * time.Hour)
	same(t, "after a day", waits(t, one(), one(), one(), one()), 0, 0, 0, time.Second)

	// One that is free alone.
	strict := auth.Backoff{Free: 1, First: 5 * time.Second, Max: time.Minute}
	same(t, "no free ones", waits(t, begin(t, f, "strict", strict), begin(t, f, "strict", strict)), 0, 5*time.Second)
	// No limit at all.
	for range 10 {
		same(t, "no limit", waits(t, begin(t, f, "free", auth.Backoff{})), 0)
	}
}

// TestFailuresOfAnAccount is what the limits of passwords promise: with all the networks
// of the world the hundredth failure in a row comes after two days at the earliest, and
// then there are 24 a day; and one network alone brings no delay about for others.
func TestFailuresOfAnAccount(t *testing.T) {
	t.Parallel()
	site := auth.Backoff{Free: 10, First: 90 * time.Second, Max: time.Hour, Decay: time.Hour}
	account := auth.Backoff{Free: 30, First: time.Second, Max: time.Hour, Decay: time.Hour}
	c := newClock()
	f := newFailures(t, c)
	began := c.now
	if n := until(t, f, c, "account", account, began.Add(48*time.Hour)); n >= 100 {
		t.Errorf("%d failures in two days", n)
	}
	if n := until(t, f, c, "account", account, began.Add(72*time.Hour)); n > 25 {
		t.Errorf("%d failures on the third day", n)
	}
	began = c.now
	for c.now.Before(began.Add(10 * 24 * time.Hour)) {
		if wait := waits(t, begin(t, f, "site", site))[0]; wait > 0 {
			c.now = c.now.Add(wait)
			continue
		}
		if wait := waits(t, begin(t, f, "another account", account))[0]; wait > 0 {
			t.Fatalf("after %v of one network all others wait %v", c.now.Sub(began), wait)
		}
	}
	// Nor does it for the next try of somebody else.
	same(t, "somebody else", waits(t, begin(t, f, "another account", account)), 0)
}

// TestFailuresThatDecay settle at one in the time of their decay, and are forgotten one
// by one where they come more slowly.
func TestFailuresThatDecay(t *testing.T) {
	t.Parallel()
	c := newClock()
	f := newFailures(t, c)
	b := auth.Backoff{Free: 5, First: time.Second, Max: time.Hour, Forget: 3 * time.Hour, Decay: 2 * time.Minute}
	end := c.now.Add(24 * time.Hour)
	until(t, f, c, "flood", b, c.now.Add(time.Hour))
	if n := until(t, f, c, "flood", b, end); n > 23*30*2 || n < 23*30/2 {
		t.Errorf("a flood settles at %d failures in 23 hours", n)
	}
	for i := range 200 {
		same(t, fmt.Sprintf("failure %d every three minutes", i), waits(t, begin(t, f, "office", b)), 0)
		c.now = c.now.Add(3 * time.Minute)
	}
	for range 5 {
		same(t, "a burst", waits(t, begin(t, f, "office", b)), 0)
	}
	// A clock that goes back does not add to the count.
	c.now = c.now.Add(2*time.Second - time.Hour)
	_ = begin(t, f, "office", b)
	c.now = c.now.Add(time.Hour)
	if wait := waits(t, begin(t, f, "office", b), begin(t, f, "office", b))[1]; wait > 10*time.Second {
		t.Errorf("after the clock went back: %v", wait)
	}
}

func TestParallelFailuresAreNoMoreThanAllowed(t *testing.T) {
	t.Parallel()
	c := newClock()
	f := newFailures(t, c)
	b := auth.Backoff{Free: 7, First: time.Minute, Max: time.Hour}
	got := make(chan error, 100)
	for range cap(got) {
		go func() { got <- begin(t, f, "key", b) }()
	}
	allowed := 0
	for range cap(got) {
		if waits(t, <-got)[0] == 0 {
			allowed++
		}
	}
	if allowed != b.Free {
		t.Errorf("%d of 100 at once were allowed", allowed)
	}
}
