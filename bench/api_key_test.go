package bench

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/jackc/pgx/v5"

	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/gen/go/logicspike/team/v1/teamv1connect"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/gen/go/logicspike/tenant/v1/tenantv1connect"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store"
)

const (
	keyCallers  = 32
	keyRounds   = 15
	keyDuration = 400 * time.Millisecond
)

// BenchmarkAPIKey compares calls by users' API keys with a handler that does nothing
// and that nothing of server/rpc wraps, served by one HTTP server. The first call asks
// the database for no more than the key, its owner's role and its workspace; the second
// one reads the workspace, too.
func BenchmarkAPIKey(b *testing.B) {
	nothing := func(context.Context, *teamv1.GetRoleRequest) (*teamv1.GetRoleResponse, error) {
		return &teamv1.GetRoleResponse{}, nil
	}
	database := newDatabase(b)
	p := startOn(b, database, secret.NewKey(), connect.NewUnaryHandlerSimple(teamv1connect.RoleServiceGetRoleProcedure, nothing))
	_, sessions := p.accounts(b, keyCallers)
	sql, err := pgx.Connect(b.Context(), database)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := sql.Exec(b.Context(), "UPDATE identity.emails SET verified_time = now()"); err != nil {
		b.Fatal(err)
	}
	if err := sql.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	workspaces, keys := make([]string, keyCallers), make([]string, keyCallers)
	for i, token := range sessions {
		workspaces[i], keys[i] = p.apiKey(b, token)
	}
	side := func(request func(caller int) []byte) func() float64 {
		connections := dial(b, p.address, keyCallers)
		requests := make([][]byte, keyCallers)
		for i := range requests {
			requests[i] = request(i)
		}
		return func() float64 {
			return steadily(b, keyCallers, keyDuration, func(caller int) error { return connections[caller].call(requests[caller]) })
		}
	}
	role := func(path string) func(int) []byte {
		return func(i int) []byte {
			return request(path, &teamv1.GetRoleRequest{WorkspaceId: workspaces[i], RoleId: "viewer"}, "Authorization: Bearer "+keys[i])
		}
	}
	known, read := side(role(teamv1connect.RoleServiceGetRoleProcedure)), side(func(i int) []byte {
		return request(tenantv1connect.WorkspaceServiceGetWorkspaceProcedure, &tenantv1.GetWorkspaceRequest{WorkspaceId: workspaces[i]},
			"Authorization: Bearer "+keys[i])
	})
	empty := side(role("/mailbox/empty"))
	for b.Loop() {
		turns := inTurns(keyRounds, known, read, empty)
		b.StopTimer()
		report(b, result{name: "API key, GetRole", turn: turns[0], unit: "calls/s", what: "empty handler", least: 0.30})
		table = append(table, result{name: "  GetWorkspace", turn: turns[1], unit: "calls/s", what: "empty handler"})
		b.StartTimer()
	}
}

// apiKey makes a key of who has a session, of all that a key can hold, and returns it
// with its workspace.
func (p *product) apiKey(b *testing.B, session string) (workspace, key string) {
	b.Helper()
	ctx := authz.WithClient(b.Context(), authz.Client{Address: netip.MustParseAddr("127.0.0.1")})
	caller, err := p.store.Authenticate(ctx, session, authz.Bearer)
	if err != nil {
		b.Fatal(err)
	}
	memberships, _, err := p.store.Team.ListOfUser(ctx, caller.User, false, time.Now(), store.Page{})
	if err != nil {
		b.Fatal(err)
	}
	id := memberships[0].WorkspaceID
	_, token, err := p.store.CreateAPIKey(authz.WithSession(ctx, caller), store.NewAPIKey{
		Workspace: id, DisplayName: "Bench", Permissions: []string{"role.list", "workspace.get", "membership.get", "invitation.list", "domain.list"},
	})
	if err != nil {
		b.Fatal(err)
	}
	return id.String(), token
}
