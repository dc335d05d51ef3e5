package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/gen/go/logicspike/team/v1/teamv1connect"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

const (
	teamMembers = 100_000
	// teamConnections are as many as the product has to the database by default.
	teamConnections = 20
	teamRounds      = 15
	teamDuration    = 400 * time.Millisecond
)

// BenchmarkListMemberships compares a page of 50 of 100,000 members with the
// statements that the call sends, sent by pgbench: those that the product has
// prepared are prepared there, too.
func BenchmarkListMemberships(b *testing.B) {
	t := newTeams(b)
	t.compare(b, "ListMemberships, 50 of 100,000", 0.40, 60, 3, func(token string) []byte {
		return request(teamv1connect.MembershipServiceListMembershipsProcedure,
			&teamv1.ListMembershipsRequest{WorkspaceId: t.workspace, Order: teamv1.MembershipOrder_MEMBERSHIP_ORDER_NAME}, "Authorization: Bearer "+token)
	})
}

// BenchmarkCheckPermission is the same for a question about a permission.
func BenchmarkCheckPermission(b *testing.B) {
	t := newTeams(b)
	t.compare(b, "CheckPermission", 0.30, 400, 2, func(token string) []byte {
		return request(teamv1connect.AuthorizationServiceCheckPermissionProcedure,
			&teamv1.CheckPermissionRequest{WorkspaceId: t.workspace, Permission: "membership.get"}, "Authorization: Bearer "+token)
	})
}

// teams is the product with a workspace of many members.
type teams struct {
	*product
	server    *loggingServer
	key       secret.Key
	tokens    []string // of members
	workspace string
}

func newTeams(b *testing.B) *teams {
	b.Helper()
	t := &teams{server: startLogging(b), key: secret.NewKey()}
	if err := store.Migrate(b.Context(), t.server.url); err != nil {
		b.Fatal(err)
	}
	t.product = startOn(b, t.server.url, t.key, nil)
	_, t.tokens = t.accounts(b, teamConnections)
	var w uuid.UUID
	if err := t.server.admin.QueryRow(b.Context(), "SELECT workspace_id FROM team.memberships ORDER BY id LIMIT 1").Scan(&w); err != nil {
		b.Fatal(err)
	}
	testkit.Fill(b, t.server.admin, w, 1, teamMembers)
	// Those who are signed in belong to it, too.
	if _, err := t.server.admin.Exec(b.Context(), `
		INSERT INTO team.memberships (id, workspace_id, user_id, role, create_time, update_time)
		SELECT gen_random_uuid(), $1, user_id, 'member', now(), now() FROM auth.sessions ON CONFLICT DO NOTHING`, w); err != nil {
		b.Fatal(err)
	}
	if _, err := t.server.admin.Exec(b.Context(), "VACUUM ANALYZE"); err != nil {
		b.Fatal(err)
	}
	t.workspace = ids.FromUUID[ids.Workspace](w).String()
	return t
}

// compare compares a call with the statements that it sends to the database.
func (t *teams) compare(b *testing.B, name string, least float64, times, statements int, call func(token string) []byte) {
	b.Helper()
	script := t.capture(b, statements, call(t.tokens[1])) // a member, as all callers but one are
	bench := newPgbench(b, t.server)
	connections := dial(b, t.address, teamConnections)
	requests := make([][]byte, teamConnections)
	for i := range requests {
		requests[i] = call(t.tokens[i])
	}
	for b.Loop() {
		turns := inTurns(teamRounds,
			func() float64 {
				return steadily(b, teamConnections, teamDuration, func(caller int) error {
					return connections[caller].call(requests[caller])
				})
			},
			func() float64 { return bench.run(b, script, teamConnections, times, 0) })
		b.StopTimer()
		report(b, result{name: name, turn: turns[0], unit: "calls/s", what: "pgbench", least: least})
		b.StartTimer()
	}
}

// capture makes a call and returns a script of the statements that it sent.
func (t *teams) capture(b *testing.B, statements int, call []byte) (script string) {
	b.Helper()
	p := startOn(b, t.server.loggingURL(), t.key, nil)
	c := dial(b, p.address, 1)[0]
	if err := c.call(call); err != nil { // once before, so that what is prepared once is
		b.Fatal(err)
	}
	const begin, end = "-- the call begins", "-- the call has ended"
	t.server.mark(b, begin)
	if err := c.call(call); err != nil {
		b.Fatal(err)
	}
	t.server.mark(b, end)
	sent := t.server.between(b, begin, end)
	if len(sent) != statements {
		b.Fatalf("a call sent %d statements, want %d: %+v", len(sent), statements, sent)
	}
	return preparedScript(b, sent)
}

// BenchmarkBatchCreateInvitations compares 200 invitations in one call with as many
// calls of one each, by one client.
func BenchmarkBatchCreateInvitations(b *testing.B) {
	const many, rounds = 200, 5
	database := startLogging(b)
	if err := store.Migrate(b.Context(), database.url); err != nil {
		b.Fatal(err)
	}
	p := startOn(b, database.url, secret.NewKey(), nil) // mails wait
	_, tokens := p.accounts(b, rounds)                  // a day's invitations of a workspace are limited
	if _, err := database.admin.Exec(b.Context(), "UPDATE identity.emails SET verified_time = now()"); err != nil {
		b.Fatal(err)
	}
	connection := dial(b, p.address, 1)[0]
	var workspaces []string
	for _, token := range tokens {
		session, err := p.store.Authenticate(b.Context(), token, authz.Bearer)
		if err != nil {
			b.Fatal(err)
		}
		list, _, err := p.store.Team.ListOfUser(b.Context(), session.User, false, time.Now(), store.Page{})
		if err != nil || len(list) != 1 {
			b.Fatalf("%d workspaces, %v", len(list), err)
		}
		workspaces = append(workspaces, list[0].WorkspaceID.String())
	}
	round, people := 0, 0
	invited := func() string {
		people++
		return fmt.Sprintf("invited%d@example.com", people)
	}
	rate := func(calls int, call func() []byte) float64 {
		requests := make([][]byte, calls)
		for i := range requests {
			requests[i] = call()
		}
		began := time.Now()
		for _, r := range requests {
			if err := connection.call(r); err != nil {
				b.Fatal(err)
			}
		}
		return many / time.Since(began).Seconds()
	}
	for b.Loop() {
		at := func() (workspace, authorization string) {
			return workspaces[round%rounds], "Authorization: Bearer " + tokens[round%rounds]
		}
		turns := inTurns(rounds,
			func() float64 {
				workspace, authorization := at()
				return rate(1, func() []byte {
					req := &teamv1.BatchCreateInvitationsRequest{WorkspaceId: workspace}
					for range many {
						req.Emails = append(req.Emails, invited())
					}
					return request(teamv1connect.InvitationServiceBatchCreateInvitationsProcedure, req, authorization)
				})
			},
			func() float64 {
				workspace, authorization := at()
				defer func() { round++ }()
				return rate(many, func() []byte {
					return request(teamv1connect.InvitationServiceCreateInvitationProcedure,
						&teamv1.CreateInvitationRequest{WorkspaceId: workspace, Email: invited()}, authorization)
				})
			})
		b.StopTimer()
		report(b, result{name: "BatchCreateInvitations, 200", turn: turns[0], unit: "invitations/s", what: "one by one", least: 10})
		b.StartTimer()
	}
}
