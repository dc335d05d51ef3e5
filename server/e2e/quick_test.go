package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

// quick returns a server on which people begin without a mail: accounts begin
// before their address is proven, and nothing is sent (see queued).
func quick(t *testing.T) *testkit.Server {
	t.Helper()
	return testkit.New(t, testkit.Options{
		WithoutJobs: true,
		Settings: func(s *config.Settings) {
			s.EmailVerification = config.VerifyAfter
			s.IdentityProviders = "github?client-id=i&client-secret=s" // which is not asked anything
			s.TestClock = true
		},
	})
}

// newPerson registers somebody on a quick server. The domain of the address is
// nobody else's.
func newPerson(t testing.TB, srv *testkit.Server) *testkit.Person {
	t.Helper()
	email := "ann@" + newDomain()
	res, err := srv.Client("").Registration.Register(t.Context(), &authv1.RegisterRequest{
		Email: email, Password: testkit.Password, WorkspaceName: "Acme",
	})
	if err != nil {
		t.Fatalf("Register: %v", err)
	}
	return srv.Person(email, res.Account)
}

// queued returns the newest mail to an address that waits to be sent, on a server
// that sends none.
func queued(t testing.TB, srv *testkit.Server, address string) mail.Message {
	t.Helper()
	for _, newest := range []int{30, 1000} { // mostly it is among the last
		list, err := readQueue(t.Context(), srv, address, newest)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) > 0 {
			return list[0]
		}
	}
	t.Fatalf("no mail to %s is waiting", address)
	return mail.Message{}
}

// readQueue returns, of the newest mails that wait to be sent, those to an
// address, or to any for "", the newest first, as they would be sent now.
func readQueue(ctx context.Context, srv *testkit.Server, address string, newest int) ([]mail.Message, error) {
	rows, err := srv.SQL.Query(ctx, "SELECT args FROM river.river_job WHERE kind = 'mail' ORDER BY id DESC LIMIT $1", newest)
	if err != nil {
		return nil, err
	}
	waiting, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return nil, err
	}
	var list []mail.Message
	for _, args := range waiting {
		var job store.MailJob
		if err := json.Unmarshal(args, &job); err != nil {
			return nil, err
		}
		message, err := srv.Store.Letter(ctx, job)
		if err != nil {
			return nil, err
		}
		if message != nil && message.Data["change"] == string(mail.NewDevice) {
			continue // of nearly every sign-in
		}
		if message != nil && (address == "" || strings.EqualFold(message.To, address)) {
			list = append(list, *message)
		}
	}
	return list, nil
}
