package bench

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store"
)

const (
	// accountConnections are as many as the product has by default.
	accountConnections = 20
	// accountTimes is how many accounts each of them creates in a turn.
	accountTimes  = 25
	accountRounds = 11

	// firstNumber is the number of the first registration. All have twelve digits,
	// and are the end of an id.
	firstNumber = 100_000_000_000
	idPrefix    = "01900000-0000-7000-8000-"
	// capturedNumber is that of the registration whose statements are captured.
	capturedNumber = 999_999_999_999
)

// tokenPrefix begins the hashes of the tokens in what pgbench works with.
var tokenPrefix = strings.Repeat("ab", 26)

// BenchmarkRegistrationTransaction compares the transaction that creates an
// account, without the hash, with the same statements sent by pgbench, on the
// same server and as many connections.
func BenchmarkRegistrationTransaction(b *testing.B) {
	server := startLogging(b)
	if err := store.Migrate(b.Context(), server.url); err != nil {
		b.Fatal(err)
	}
	bench := newPgbench(b, server)
	key := secret.NewKey()
	r := &registrations{server: server, template: template(b, server, key)}

	script := r.capture(b, key)
	s := open(b, server.url, key)
	for b.Loop() {
		const each = accountConnections * accountTimes
		turns := inTurns(accountRounds,
			func() float64 {
				first := r.prepare(b, each, true)
				return r.counted(b, each, func() float64 { return verify(b, s, first) })
			},
			func() float64 {
				first := r.prepare(b, each, false)
				return r.counted(b, each, func() float64 {
					return bench.run(b, script, accountConnections, accountTimes, first-firstNumber)
				})
			})
		b.StopTimer()
		report(b, result{name: "registration transaction", turn: turns[0], unit: "transactions/s", what: "pgbench", least: 0.50})
		b.StartTimer()
	}
}

func open(b *testing.B, url string, key secret.Key) *store.Store {
	b.Helper()
	s, err := store.Open(b.Context(), store.Options{URL: url, MaxConnections: accountConnections, Key: key, DeletionGrace: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	return s
}

// template registers somebody and returns the row, by its columns.
func template(b *testing.B, server *loggingServer, key secret.Key) map[string]any {
	b.Helper()
	address, err := email.Parse("template@example.com")
	if err != nil {
		b.Fatal(err)
	}
	if _, _, err := open(b, server.url, key).Register(b.Context(), store.Registration{
		Email: address, DisplayName: "Ann", WorkspaceName: "Acme",
		PasswordHash: "$argon2id$v=19$m=19456,t=2,p=1$" + strings.Repeat("c2FsdA", 3) + "$" + strings.Repeat("aGFzaA", 7),
	}); err != nil {
		b.Fatal(err)
	}
	rows, err := server.admin.Query(b.Context(), "SELECT * FROM auth.registrations")
	if err != nil {
		b.Fatal(err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToMap)
	if err != nil {
		b.Fatal(err)
	}
	return row
}

// registrations makes pending registrations, each with a number of its own.
type registrations struct {
	server   *loggingServer
	template map[string]any
	made     int
}

// token is that of the link which was mailed for a registration.
func token(number int) string { return "lsmr_" + strconv.Itoa(number) }

func tokenHash(number int) []byte {
	hash := secret.HashOf("registration", token(number))
	return hash[:]
}

// prepare inserts so many registrations, whose addresses are yet to be proven,
// and returns the first one's number. They have real tokens, or the ones that the
// script of pgbench knows.
func (r *registrations) prepare(b *testing.B, count int, real bool) (first int) {
	b.Helper()
	first = firstNumber + r.made
	r.made += count
	r.insert(b, count, func(i int) (int, []byte) {
		number := first + i
		if real {
			return number, tokenHash(number)
		}
		hash, err := hex.DecodeString(tokenPrefix + strconv.Itoa(number))
		if err != nil {
			b.Fatal(err)
		}
		return number, hash
	})
	return first
}

func (r *registrations) insert(b *testing.B, count int, of func(i int) (number int, token []byte)) {
	b.Helper()
	var columns []string
	for name := range r.template {
		columns = append(columns, name)
	}
	now := time.Now()
	if _, err := r.server.admin.CopyFrom(b.Context(), pgx.Identifier{"auth", "registrations"}, columns,
		pgx.CopyFromSlice(count, func(i int) ([]any, error) {
			number, token := of(i)
			var row []any
			for _, name := range columns {
				value := r.template[name]
				switch name {
				case "id":
					value = uuid.MustParse(idPrefix + strconv.Itoa(number))
				case "address", "address_key":
					value = fmt.Sprintf("person%d@example.com", number)
				case "workspace_name":
					value = fmt.Sprintf("Acme %d", number)
				case "token_hash":
					value = token
				case "code_expire_time", "expire_time":
					value = now.Add(time.Hour)
				}
				row = append(row, value)
			}
			return row, nil
		})); err != nil {
		b.Fatal(err)
	}
}

// capture creates an account and returns the script of the statements that it
// took.
func (r *registrations) capture(b *testing.B, key secret.Key) (script string) {
	b.Helper()
	r.insert(b, 1, func(int) (int, []byte) { return capturedNumber, tokenHash(capturedNumber) })
	if err := prove(b.Context(), open(b, r.server.loggingURL(), key), capturedNumber); err != nil {
		b.Fatal(err)
	}
	const done = "-- the account is there"
	r.server.mark(b, done)
	list := r.server.transactions(b, done)
	if len(list) != 1 {
		b.Fatalf("an account took %d transactions: %q", len(list), list)
	}
	return scriptOf(b, list[0], strconv.Itoa(capturedNumber), tokenHash(capturedNumber))
}

// counted makes sure that what is measured creates so many accounts.
func (r *registrations) counted(b *testing.B, want int, measure func() float64) float64 {
	b.Helper()
	count := func() (n int) {
		if err := r.server.admin.QueryRow(b.Context(), `
			SELECT count(*) FROM auth.registrations
			JOIN team.memberships USING (user_id, workspace_id) JOIN auth.sessions USING (user_id) JOIN auth.credentials USING (user_id)
			WHERE verify_time IS NOT NULL`).Scan(&n); err != nil {
			b.Fatal(err)
		}
		return n
	}
	before := count()
	rate := measure()
	if got := count() - before; got != want {
		b.Fatalf("%d accounts were created, want %d", got, want)
	}
	return rate
}

// verify creates accounts on all connections and returns how many in a second.
func verify(b *testing.B, s *store.Store, first int) float64 {
	b.Helper()
	var all sync.WaitGroup
	began := time.Now()
	for connection := range accountConnections {
		all.Go(func() {
			for i := range accountTimes {
				if err := prove(b.Context(), s, first+i*accountConnections+connection); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	if b.Failed() {
		b.FailNow()
	}
	return accountConnections * accountTimes / took.Seconds()
}

var loopback = authz.Client{Address: netip.MustParseAddr("127.0.0.1"), UserAgent: "bench"}

// prove proves the address of a registration: the transaction that is measured.
func prove(ctx context.Context, s *store.Store, number int) error {
	_, err := s.VerifyRegistration(ctx, store.Verification{
		Registration: ids.Registration{}, Proof: store.Proof{Token: token(number)}, Transport: authz.Bearer, Client: loopback,
	})
	return err
}
