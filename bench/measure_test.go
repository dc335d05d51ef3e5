package bench

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// inTurns measures several sides one after the other, round by round, each as a
// rate. It returns the medians of the rates, and of each side's ratio to the
// last one in the same round: many short rounds, so that what else the machine
// does is the same for both.
func inTurns(b *testing.B, rounds int, sides ...func() float64) (rates, ratios []float64) {
	b.Helper()
	all := make([][]float64, len(sides))
	for range rounds {
		for i, side := range sides {
			all[i] = append(all[i], side())
		}
	}
	last := all[len(sides)-1]
	for _, side := range all {
		var to []float64
		for i := range side {
			to = append(to, side[i]/last[i])
		}
		ratios = append(ratios, median(to))
	}
	for _, side := range all {
		rates = append(rates, median(side))
	}
	return rates, ratios
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// steadily has several callers do something over and over, and returns how often
// a second it was done, once that runs smoothly: how it begins and ends does not
// count.
func steadily(b *testing.B, callers int, duration time.Duration, do func(caller int) error) float64 {
	b.Helper()
	var count atomic.Int64
	var stop atomic.Bool
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for !stop.Load() {
				if err := do(caller); err != nil {
					b.Error(err)
					return
				}
				count.Add(1)
			}
		})
	}
	time.Sleep(duration / 5)
	began, before := time.Now(), count.Load()
	s0, p0 := cpu()
	time.Sleep(duration)
	done, took := count.Load()-before, time.Since(began)
	s1, p1 := cpu()
	if n := float64(count.Load() - before); n > 0 {
		println(int(n), "calls; self us", int((s1-s0)/n), "postgres us", int((p1-p0)/n))
	}
	stop.Store(true)
	all.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return float64(done) / took.Seconds()
}
