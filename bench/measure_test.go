package bench

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// turn is what two sides did in the same round.
type turn struct{ measured, limit float64 }

func (t turn) ratio() float64 { return t.measured / t.limit }

// inTurns measures several sides as rates, one after the other, round by round:
// many short rounds, so that what else the machine does is the same for all. It
// returns, for each side but the last one, which is the limit, the round whose
// ratio is the median.
func inTurns(rounds int, sides ...func() float64) []turn {
	last := len(sides) - 1
	turns := make([][]turn, last)
	for range rounds {
		rates := make([]float64, len(sides))
		for i, side := range sides {
			rates[i] = side()
		}
		for i, rate := range rates[:last] {
			turns[i] = append(turns[i], turn{rate, rates[last]})
		}
	}
	medians := make([]turn, last)
	for i, list := range turns {
		slices.SortFunc(list, func(a, b turn) int { return cmp.Compare(a.ratio(), b.ratio()) })
		medians[i] = list[len(list)/2]
	}
	return medians
}

func median(list []float64) float64 {
	return slices.Sorted(slices.Values(list))[len(list)/2]
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
	time.Sleep(duration)
	done, took := count.Load()-before, time.Since(began)
	stop.Store(true)
	all.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return float64(done) / took.Seconds()
}
