package bench

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
)

const (
	floodCallers  = 32
	floodRounds   = 5
	floodDuration = 4 * time.Second
	// floodLimit is what GetSession may take in 99 of 100 calls meanwhile.
	floodLimit = 5 * time.Millisecond
)

// BenchmarkGetSessionInAFlood has 32 callers sign in all the time, as many of them at
// once as the settings admit to the processor by default, and measures what the call
// that every page makes takes meanwhile: by one caller, one call after the other.
func BenchmarkGetSessionInAFlood(b *testing.B) {
	p := start(b, nil)
	addresses, tokens := p.accounts(b, floodCallers)
	connections := dial(b, p.address, floodCallers+1)
	requests := make([][]byte, floodCallers)
	for i := range requests {
		requests[i] = request(authv1connect.AuthenticationServiceSignInWithPasswordProcedure,
			&authv1.SignInWithPasswordRequest{Email: addresses[i], Password: password}, from(i))
	}
	session := request(authv1connect.SessionServiceGetSessionProcedure, &authv1.GetSessionRequest{}, "Authorization: Bearer "+tokens[0])
	// calls makes calls of GetSession for a while, and returns how long each took.
	calls := func() []float64 {
		var took []float64
		for end := time.Now().Add(floodDuration); time.Now().Before(end); {
			began := time.Now()
			if err := connections[floodCallers].call(session); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(began).Seconds())
			time.Sleep(2 * time.Millisecond)
		}
		slices.Sort(took)
		return took
	}
	for b.Loop() {
		var p99, calm []float64
		var half []float64
		var signIns atomic.Int64
		for range floodRounds {
			quiet := calls()
			calm = append(calm, quiet[len(quiet)*99/100])
			var stop atomic.Bool
			var all sync.WaitGroup
			for caller := range floodCallers {
				all.Go(func() {
					for !stop.Load() {
						if err := connections[caller].call(requests[caller]); err != nil {
							b.Error(err)
							return
						}
						signIns.Add(1)
					}
				})
			}
			time.Sleep(floodDuration / 4)
			took := calls()
			stop.Store(true)
			all.Wait()
			if b.Failed() {
				b.FailNow()
			}
			p99 = append(p99, took[len(took)*99/100])
			half = append(half, took[len(took)/2])
		}
		b.StopTimer()
		report(b, result{
			name: "GetSession while 32 sign in, 99th percentile", turn: turn{1000 * median(p99), float64(floodLimit) / float64(time.Millisecond)},
			unit: "ms", most: 1,
		})
		fmt.Printf("GetSession in a flood: median %.2f ms, p99 %.2f ms (each round: %.2f), without one %.2f ms; %d sign-ins\n",
			1000*median(half), 1000*median(p99), milliseconds(p99), 1000*median(calm), signIns.Load())
		b.StartTimer()
	}
}

func milliseconds(seconds []float64) []float64 {
	out := make([]float64, len(seconds))
	for i, s := range seconds {
		out[i] = 1000 * s
	}
	return out
}
