package bench

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
)

// hashCallers are more than are hashed for at once, so that there is always one
// who waits.
const hashCallers = 16

const (
	hashRounds   = 11
	hashDuration = time.Second
)

// BenchmarkSignIn compares sign-ins with password checks that nothing surrounds.
func BenchmarkSignIn(b *testing.B) {
	p := start(b, nil)
	addresses, _ := p.accounts(b, hashCallers)
	connections := dial(b, p.address, hashCallers)
	requests := make([][]byte, hashCallers)
	for i := range requests {
		requests[i] = request(authv1connect.AuthenticationServiceSignInWithPasswordProcedure,
			&authv1.SignInWithPasswordRequest{Email: addresses[i], Password: password}, from(i))
	}
	p.compareHashes(b, "sign-in", func(caller int) error {
		return connections[caller].call(requests[caller])
	})
}

// BenchmarkRegister compares registrations with the hashes of their passwords
// that nothing surrounds.
func BenchmarkRegister(b *testing.B) {
	p := start(b, nil)
	connections := dial(b, p.address, hashCallers)
	var count atomic.Int64
	p.compareHashes(b, "registration", func(caller int) error {
		n := count.Add(1)
		return connections[caller].call(request(authv1connect.RegistrationServiceRegisterProcedure,
			&authv1.RegisterRequest{Email: fmt.Sprintf("person%d@example.com", n), Password: password, WorkspaceName: "Acme"}, from(caller)))
	})
}

func (p *product) compareHashes(b *testing.B, name string, call func(caller int) error) {
	params := p.params()
	for b.Loop() {
		turns := inTurns(hashRounds,
			func() float64 { return steadily(b, hashCallers, hashDuration, call) },
			func() float64 {
				return steadily(b, p.settings.HashLimit(), hashDuration, func(int) error {
					_, err := argon2id.CreateHash(password, params)
					return err
				})
			})
		b.StopTimer()
		report(b, result{name: name, turn: turns[0], unit: "hashes/s", what: "bare argon2id", least: 0.85})
		b.StartTimer()
	}
}
