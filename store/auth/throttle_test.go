package auth_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/postgres"
)

// stopped is a clock that stands still until it is moved.
type stopped struct{ now time.Time }

func (c *stopped) Now() time.Time { return c.now }

func newThrottle(t *testing.T, c *stopped) auth.Throttle {
	t.Helper()
	db, err := postgres.Open(postgres.Options{URL: testkit.NewDatabase(t), MaxConnections: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return auth.NewThrottle(auth.New(db.Bun, postgres.NewPager(secret.NewKey())), c)
}

func newClock() *stopped {
	return &stopped{time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)}
}

// waits returns for each answer of a throttle how long it says to wait: 0 for what
// was taken.
func waits(t *testing.T, answers ...error) []time.Duration {
	t.Helper()
	list := make([]time.Duration, len(answers))
	for i, err := range answers {
		switch {
		case err == nil:
		case !fault.Has(err, fault.RateLimited) || fault.As(err).Kind != fault.ResourceExhausted || fault.As(err).RetryAfter <= 0:
			t.Fatalf("a throttle says %v", err)
		default:
			list[i] = fault.As(err).RetryAfter
		}
	}
	return list
}

func same(t *testing.T, what string, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestManyAreTakenTogetherOrNotAtAll(t *testing.T) {
	t.Parallel()
	c := newClock()
	throttle := newThrottle(t, c)
	limit := auth.Limit{Burst: 10, Interval: time.Hour}
	take := func(count int) []time.Duration {
		t.Helper()
		return waits(t, throttle.TakeMany(t.Context(), "key", count, limit))
	}
	same(t, "six of ten", take(6), 0)
	same(t, "five of the four that are left", take(5), time.Hour)
	same(t, "of which the refusal took none", take(4), 0)
	same(t, "one more", take(1), time.Hour)
	same(t, "ten more", take(10), 10*time.Hour)
	same(t, "none", take(0), 0)
	same(t, "for another key", waits(t, throttle.TakeMany(t.Context(), "other", 10, limit)), 0)

	c.now = c.now.Add(2*time.Hour - time.Second)
	same(t, "two before two hours are over", take(2), time.Second)
	c.now = c.now.Add(time.Second)
	same(t, "two after two hours", take(2), 0)
	same(t, "and one more", take(1), time.Hour)
	c.now = c.now.Add(1000 * time.Hour)
	if wait := take(11); wait[0] == 0 {
		t.Error("the burst grew with time")
	}
	same(t, "the whole burst", take(10), 0)

	if wait := waits(t, throttle.TakeMany(t.Context(), "new", 11, limit)); wait[0] == 0 {
		t.Error("more than the burst was taken, of a new key")
	}
	same(t, "which took none", waits(t, throttle.TakeMany(t.Context(), "new", 10, limit)), 0)
	for _, nothing := range []auth.Limit{{}, {Burst: 10}, {Interval: time.Hour}} {
		same(t, "of no limit", waits(t, throttle.TakeMany(t.Context(), "key", 1000, nothing)), 0)
	}
}

func TestEachKeyIsTakenOrRefusedByItself(t *testing.T) {
	t.Parallel()
	c := newClock()
	throttle := newThrottle(t, c)
	limit := auth.Limit{Burst: 2, Interval: time.Hour}
	take := func(keys ...string) []time.Duration {
		t.Helper()
		answers, err := throttle.TakeEach(t.Context(), keys, limit)
		if err != nil {
			t.Fatal(err)
		}
		return waits(t, answers...)
	}
	same(t, "new keys", take("c", "a", "b"), 0, 0, 0)
	same(t, "known and new ones", take("d", "a"), 0, 0)
	same(t, "one that is used up between two that are not", take("b", "a", "c"), 0, time.Hour, 0)
	same(t, "of which the refusal took none", take("d", "c", "b", "a"), 0, time.Hour, time.Hour, time.Hour)
	same(t, "no keys", take(), []time.Duration{}...)
	c.now = c.now.Add(time.Hour)
	same(t, "an hour later", take("a", "b", "c", "d", "e"), 0, 0, 0, 0, 0)
	// What is taken one by one counts for the same.
	same(t, "one by one", waits(t, throttle.Take(t.Context(), "e", limit), throttle.Take(t.Context(), "e", limit)), 0, time.Hour)
	same(t, "of no limit", waits(t, func() error {
		answers, err := throttle.TakeEach(t.Context(), []string{"e"}, auth.Limit{})
		if err != nil || len(answers) != 1 {
			t.Fatalf("%v, %v", answers, err)
		}
		return answers[0]
	}()), 0)
}

// TestATimeOfAWrongClockCountsForNothing also for many, and for several keys.
func TestATimeOfAWrongClockCountsForNothing(t *testing.T) {
	t.Parallel()
	c := newClock()
	throttle := newThrottle(t, c)
	limit := auth.Limit{Burst: 3, Interval: time.Hour}
	right := c.now
	c.now = right.AddDate(1, 0, 0)
	same(t, "by a clock that is a year ahead", waits(t, throttle.TakeMany(t.Context(), "key", 3, limit)), 0)
	c.now = right
	same(t, "by the right clock", waits(t, throttle.TakeMany(t.Context(), "key", 2, limit)), 0)
	same(t, "which counted", waits(t, throttle.TakeMany(t.Context(), "key", 2, limit)), time.Hour)
}

// TestNoThrottleIsOverdrawnByCallsAtOnce also shows that calls with the same keys in
// another order don't wait for each other for ever.
func TestNoThrottleIsOverdrawnByCallsAtOnce(t *testing.T) {
	t.Parallel()
	throttle := newThrottle(t, newClock())
	const calls, burst = 24, 10
	limit := auth.Limit{Burst: burst, Interval: time.Hour}
	var keys []string
	for i := range 20 {
		keys = append(keys, fmt.Sprint("key ", i))
	}
	var mu sync.Mutex
	taken := map[string]int{}
	together := 0
	var all sync.WaitGroup
	for i := range calls {
		all.Go(func() {
			mine := slices.Clone(keys)
			if i%2 == 1 {
				slices.Reverse(mine)
			}
			answers, err := throttle.TakeEach(t.Context(), mine, limit)
			many := throttle.TakeMany(t.Context(), "together", 3, limit)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("TakeEach: %v", err)
				return
			}
			for k, refused := range answers {
				if refused == nil {
					taken[mine[k]]++
				}
			}
			if many == nil {
				together += 3
			}
		})
	}
	all.Wait()
	for _, key := range keys {
		if taken[key] != burst {
			t.Errorf("%d of %q were taken, want %d", taken[key], key, burst)
		}
	}
	if together != 9 {
		t.Errorf("%d were taken three at a time, want 9 of %d", together, burst)
	}
}
