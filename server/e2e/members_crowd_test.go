package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"

	"github.com/logicspike/manager/client"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store/postgres"
	"github.com/logicspike/manager/store/team"
)

// TestMembersOfACrowdAreListedAndFound compares lists with what a plain loop
// over all members gives, looks at how PostgreSQL runs the very statements, and
// checks that late pages cost what the first one does.
func TestMembersOfACrowdAreListedAndFound(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	owner, other := srv.Register(t), srv.Register(t)
	// Of fewer, PostgreSQL rightly reads whole tables.
	w, size := uuidOf(t, owner.Workspace.Id), max(30_000, sized(100_000))
	testkit.Fill(t, srv.SQL, w, 1, size)
	testkit.Fill(t, srv.SQL, uuidOf(t, other.Workspace.Id), size+1, size+size/10)
	if _, err := srv.SQL.Exec(t.Context(), "VACUUM ANALYZE"); err != nil {
		t.Fatal(err)
	}
	c := &crowdTest{srv: srv, owner: owner, members: membersOf(t, srv, w), lists: lists()}
	if len(c.members) != size+1 {
		t.Fatalf("%d members, want %d", len(c.members), size+1)
	}
	t.Run("they are kept as the product keeps them", func(t *testing.T) {
		for _, m := range c.members {
			want := team.KeysOf(ids.FromUUID[ids.Workspace](w), m.name, m.address)
			if m.keys.Name != want.Name || m.keys.Address != want.Address || !slices.Equal(unique(m.keys.Terms), unique(want.Terms)) {
				t.Fatalf("%q, want %q", m.keys, want)
			}
		}
	})
	t.Run("every page is right", c.testPages)
	t.Run("no statement reads or sorts more than it must", c.testPlans)
	t.Run("late pages cost what the first one does", c.testTime)
	t.Run("a page token is of use only where it was given", func(t *testing.T) { c.testTokens(t, other.Workspace.Id) })
}

func unique(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

type crowdTest struct {
	srv     *testkit.Server
	owner   *testkit.Person
	members []crowdMember
	lists   []*teamv1.ListMembershipsRequest

	mu    sync.Mutex
	pages map[string]lastPages
}

// lastPages are the tokens of the middle page and the last one of a list.
type lastPages struct{ middle, last string }

// crowdMember is a member as one plain query tells.
type crowdMember struct {
	id            uuid.UUID
	role          string
	deactivated   bool
	name, address string
	keys          team.Keys
}

func membersOf(t *testing.T, srv *testkit.Server, workspace uuid.UUID) []crowdMember {
	t.Helper()
	rows, err := srv.SQL.Query(t.Context(), `
		SELECT m.id, m.role, m.deactivate_time IS NOT NULL, u.display_name, e.address_key, m.name_key, m.address_key, tsvector_to_array(m.terms)
		FROM team.memberships m JOIN identity.users u ON u.id = m.user_id JOIN identity.emails e ON e.user_id = m.user_id
		WHERE m.workspace_id = $1`, workspace)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m crowdMember, err error) {
		return m, row.Scan(&m.id, &m.role, &m.deactivated, &m.name, &m.address, &m.keys.Name, &m.keys.Address, &m.keys.Terms)
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

const (
	oldest = teamv1.MembershipOrder_MEMBERSHIP_ORDER_OLDEST_FIRST
	newest = teamv1.MembershipOrder_MEMBERSHIP_ORDER_NEWEST_FIRST
	byName = teamv1.MembershipOrder_MEMBERSHIP_ORDER_NAME
	byMail = teamv1.MembershipOrder_MEMBERSHIP_ORDER_EMAIL

	active      = teamv1.MembershipState_MEMBERSHIP_STATE_ACTIVE
	deactivated = teamv1.MembershipState_MEMBERSHIP_STATE_DEACTIVATED
)

var allOrders = []teamv1.MembershipOrder{oldest, newest, byName, byMail}

// lists are all lists that are asked for with -large; otherwise the filtered ones are in
// one order each, by chance.
func lists() []*teamv1.ListMembershipsRequest {
	all := allLists()
	if *large {
		return all
	}
	var some []*teamv1.ListMembershipsRequest
	filters, first := len(all)/len(allOrders), rand.IntN(len(allOrders))
	for i := range filters {
		for order := range allOrders {
			if i == 0 || (first+i)%len(allOrders) == order {
				some = append(some, all[order*filters+i])
			}
		}
	}
	return some
}

func allLists() []*teamv1.ListMembershipsRequest {
	var all []*teamv1.ListMembershipsRequest
	for _, order := range allOrders {
		all = append(all,
			&teamv1.ListMembershipsRequest{Order: order},
			&teamv1.ListMembershipsRequest{Order: order, Role: "owner"},
			&teamv1.ListMembershipsRequest{Order: order, Role: "member"},
			&teamv1.ListMembershipsRequest{Order: order, Role: "viewer", State: active},
			&teamv1.ListMembershipsRequest{Order: order, State: deactivated},
			&teamv1.ListMembershipsRequest{Order: order, Role: "admin", State: deactivated},
			&teamv1.ListMembershipsRequest{Order: order, Search: "m4711"},           // the beginning of an address, of 11
			&teamv1.ListMembershipsRequest{Order: order, Search: "m4711@crowd.exa"}, // of one
			&teamv1.ListMembershipsRequest{Order: order, Search: "m47"},             // of a thousand
			&teamv1.ListMembershipsRequest{Order: order, Search: "FAMILY4711"},      // of twenty
			&teamv1.ListMembershipsRequest{Order: order, Search: "ann"},             // of ten thousand
			&teamv1.ListMembershipsRequest{Order: order, Search: "jo"},              // of ten thousand, the last by name
			&teamv1.ListMembershipsRequest{Order: order, Search: "family"},          // of all
			&teamv1.ListMembershipsRequest{Order: order, Search: "rare"},            // of two thousand
			&teamv1.ListMembershipsRequest{Order: order, Search: "bob family12"},    // two words
			&teamv1.ListMembershipsRequest{Order: order, Search: "eve", State: deactivated},
			&teamv1.ListMembershipsRequest{Order: order, Search: "nobody"},
		)
	}
	return all
}

func nameOfList(r *teamv1.ListMembershipsRequest) string {
	return fmt.Sprintf("%s role=%s state=%s search=%q", strings.TrimPrefix(r.Order.String(), "MEMBERSHIP_ORDER_"), r.Role,
		strings.TrimPrefix(r.State.String(), "MEMBERSHIP_STATE_"), r.Search)
}

// want computes a list by a plain loop.
func (c *crowdTest) want(r *teamv1.ListMembershipsRequest) []string {
	var found []crowdMember
	words := strings.Fields(strings.ToLower(r.Search))
	for _, m := range c.members {
		local, domain, _ := strings.Cut(m.address, "@")
		parts := append(strings.Fields(strings.ToLower(m.name)), m.address, local, domain)
		matches := !slices.ContainsFunc(words, func(word string) bool {
			return !slices.ContainsFunc(parts, func(part string) bool { return strings.HasPrefix(part, word) })
		})
		if matches && (r.Role == "" || m.role == r.Role) && (r.State == 0 || m.deactivated == (r.State == deactivated)) {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b crowdMember) int {
		byID := slices.Compare(a.id[:], b.id[:])
		switch r.Order {
		case newest:
			return -byID
		case byName:
			return cmp.Or(strings.Compare(strings.ToLower(a.name), strings.ToLower(b.name)), byID)
		case byMail:
			return cmp.Or(strings.Compare(a.address, b.address), byID)
		}
		return byID
	})
	list := make([]string, len(found))
	for i, m := range found {
		list[i] = ids.FromUUID[ids.Membership](m.id).String()
	}
	return list
}

// testPages reads every list to its end.
func (c *crowdTest) testPages(t *testing.T) {
	c.pages = map[string]lastPages{}
	work := make(chan *teamv1.ListMembershipsRequest)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for r := range work {
				c.read(t, r)
			}
		})
	}
	for _, r := range c.lists {
		work <- r
	}
	close(work)
	all.Wait()
}

func (c *crowdTest) read(t *testing.T, r *teamv1.ListMembershipsRequest) {
	want := c.want(r)
	big := len(want) > 1500 && r.Search != "" || len(want) > 15_000 && r.Role != "" // its first pages are enough
	req := &teamv1.ListMembershipsRequest{WorkspaceId: c.owner.Workspace.Id, PageSize: 200, Role: r.Role, State: r.State, Search: r.Search, Order: r.Order}
	var got []string
	var pages lastPages
	for {
		res, err := c.owner.Memberships.ListMemberships(t.Context(), req)
		if err != nil {
			t.Errorf("%s: %v", nameOfList(r), err)
			return
		}
		for _, m := range res.Memberships {
			got = append(got, m.Id)
		}
		if res.NextPageToken == "" || big && len(got) >= 600 {
			break
		}
		if req.PageToken = res.NextPageToken; len(got) <= len(want)/2 {
			pages.middle = req.PageToken
		}
		pages.last = req.PageToken
	}
	if big {
		want = want[:min(len(got), len(want))]
	}
	if !slices.Equal(got, want) {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		t.Errorf("%s: %d members, want %d; they differ at %d", nameOfList(r), len(got), len(want), at)
	}
	c.mu.Lock()
	c.pages[nameOfList(r)] = pages
	c.mu.Unlock()
}

// planNode is a part of a plan as EXPLAIN tells.
type planNode struct {
	Type    string  `json:"Node Type"`
	Table   string  `json:"Relation Name"`
	Index   string  `json:"Index Name"`
	Rows    float64 `json:"Actual Rows"`
	Loops   float64 `json:"Actual Loops"`
	Time    float64 `json:"Actual Total Time"`
	Removed float64 `json:"Rows Removed by Filter"`
	Hit     int     `json:"Shared Hit Blocks"`
	Read    int     `json:"Shared Read Blocks"`
	Plans   []planNode
}

func (n planNode) walk(visit func(planNode)) {
	visit(n)
	for _, child := range n.Plans {
		child.walk(visit)
	}
}

func (n planNode) String() string {
	var s strings.Builder
	var write func(planNode, int)
	write = func(n planNode, depth int) {
		fmt.Fprintf(&s, "\n%s%s %s %s rows=%.0f loops=%.0f removed=%.0f blocks=%d", strings.Repeat("  ", depth), n.Type, n.Table, n.Index, n.Rows, n.Loops, n.Removed, n.Hit+n.Read)
		for _, child := range n.Plans {
			write(child, depth+1)
		}
	}
	write(n, 0)
	return s.String()
}

// statements keeps what bun sends.
type statements struct{ sent []string }

func (s *statements) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }
func (s *statements) AfterQuery(_ context.Context, e *bun.QueryEvent) {
	s.sent = append(s.sent, e.Query)
}

// explainer runs the repository's own statements again, explained.
type explainer struct {
	srv        *testkit.Server
	repository team.Repository
	sent       *statements
}

func newExplainer(t *testing.T, srv *testkit.Server) explainer {
	t.Helper()
	db, err := postgres.Open(postgres.Options{URL: srv.Database, MaxConnections: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	sent := new(statements)
	return explainer{srv, team.New(db.Bun.WithQueryHook(sent), postgres.NewPager(srv.Key)), sent}
}

var storedOrders = map[teamv1.MembershipOrder]team.Order{newest: team.NewestFirst, byName: team.ByName, byMail: team.ByAddress}
var storedStates = map[teamv1.MembershipState]team.State{active: team.Active, deactivated: team.Deactivated}

func (e explainer) explain(t *testing.T, workspace string, r *teamv1.ListMembershipsRequest, token string) planNode {
	t.Helper()
	id, err := ids.Parse[ids.Workspace](workspace)
	if err != nil {
		t.Fatal(err)
	}
	e.sent.sent = nil
	filter := team.Filter{Role: authz.Role(r.Role), State: storedStates[r.State], Search: r.Search, Order: storedOrders[r.Order]}
	if _, _, err := e.repository.List(t.Context(), id, filter, postgres.Page{Size: 50, Token: token}); err != nil {
		t.Fatalf("%s: %v", nameOfList(r), err)
	}
	if len(e.sent.sent) != 1 {
		t.Fatalf("a page took %d statements, want 1", len(e.sent.sent))
	}
	var plan []byte
	if err := e.srv.SQL.QueryRow(t.Context(), "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "+e.sent.sent[0]).Scan(&plan); err != nil {
		t.Fatal(err)
	}
	var plans []struct{ Plan planNode }
	if err := json.Unmarshal(plan, &plans); err != nil {
		t.Fatal(err)
	}
	return plans[0].Plan
}

// testPlans looks at the first, the middle and the last page of each list.
func (c *crowdTest) testPlans(t *testing.T) {
	e := newExplainer(t, c.srv)
	var slowest float64
	var which string
	for _, r := range c.lists {
		pages := c.pages[nameOfList(r)]
		for page, token := range map[string]string{"first": "", "middle": pages.middle, "last": pages.last} {
			if page != "first" && token == "" {
				continue // a list of one page
			}
			plan := e.explain(t, c.owner.Workspace.Id, r, token)
			if plan.Time > slowest {
				slowest, which = plan.Time, nameOfList(r)+", "+page+" page"
			}
			offend := func(how string) { t.Errorf("%s, %s page: %s:%s", nameOfList(r), page, how, plan) }
			plan.walk(func(n planNode) {
				// An index has each filter in each order. What a search finds is sorted, or, when
				// it is much, looked for in what is sorted.
				reads, sorts := 300.0, 300.0
				if r.Search != "" || r.Role != "" && r.State != 0 {
					size := float64(len(c.members))
					reads, sorts = size, size/8
				}
				if n.Type == "Seq Scan" {
					offend("it reads a whole table")
				}
				if (n.Type == "Sort" || n.Type == "Incremental Sort") && len(n.Plans) > 0 && n.Plans[0].Rows*n.Plans[0].Loops > sorts {
					offend("it sorts too much")
				}
				if n.Rows*n.Loops+n.Removed > reads {
					offend("it reads too much")
				}
			})
		}
	}
	t.Logf("the slowest page: %s, %.0f ms", which, slowest)
}

// testTime compares what pages take, in blocks, which are always the same, and in
// time.
func (c *crowdTest) testTime(t *testing.T) {
	e := newExplainer(t, c.srv)
	for _, order := range allOrders {
		r := &teamv1.ListMembershipsRequest{WorkspaceId: c.owner.Workspace.Id, PageSize: 50, Order: order}
		pages := c.pages[nameOfList(r)]
		cost := func(token string) (blocks int, took time.Duration) {
			plan := e.explain(t, c.owner.Workspace.Id, r, token)
			r.PageToken = token
			for range 9 {
				began := time.Now()
				if _, err := c.owner.Memberships.ListMemberships(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				if one := time.Since(began); took == 0 || one < took {
					took = one
				}
			}
			r.PageToken = ""
			return plan.Hit + plan.Read, took
		}
		firstBlocks, first := cost("")
		for page, token := range map[string]string{"middle": pages.middle, "last": pages.last} {
			blocks, took := cost(token)
			t.Logf("%s: the first page %d blocks, %v; the %s one %d blocks, %v", nameOfList(r), firstBlocks, first, page, blocks, took)
			if blocks > 2*firstBlocks || took > 5*first+2*time.Millisecond {
				t.Errorf("%s: the first page took %d blocks and %v, the %s one %d and %v", nameOfList(r), firstBlocks, first, page, blocks, took)
			}
		}
	}
}

// testTokens uses a page token with everything else.
func (c *crowdTest) testTokens(t *testing.T, otherWorkspace string) {
	base := &teamv1.ListMembershipsRequest{WorkspaceId: c.owner.Workspace.Id, PageSize: 10, Search: "ann", Role: "member", State: active, Order: byName}
	c.srv.Join(t, c.owner, otherWorkspace, "viewer")
	first, err := c.owner.Memberships.ListMemberships(t.Context(), base)
	if err != nil || first.NextPageToken == "" {
		t.Fatalf("the first page: %v", err)
	}
	for what, change := range map[string]func(*teamv1.ListMembershipsRequest){
		"":                  func(*teamv1.ListMembershipsRequest) {},
		"another page size": func(r *teamv1.ListMembershipsRequest) { r.PageSize = 20 },
		"another workspace": func(r *teamv1.ListMembershipsRequest) { r.WorkspaceId = otherWorkspace },
		"another search":    func(r *teamv1.ListMembershipsRequest) { r.Search = "bob" },
		"no search":         func(r *teamv1.ListMembershipsRequest) { r.Search = "" },
		"another role":      func(r *teamv1.ListMembershipsRequest) { r.Role = "viewer" },
		"any role":          func(r *teamv1.ListMembershipsRequest) { r.Role = "" },
		"another state":     func(r *teamv1.ListMembershipsRequest) { r.State = deactivated },
		"any state":         func(r *teamv1.ListMembershipsRequest) { r.State = 0 },
		"another order":     func(r *teamv1.ListMembershipsRequest) { r.Order = byMail },
		"the other way":     func(r *teamv1.ListMembershipsRequest) { r.Order = newest },
		"a broken token":    func(r *teamv1.ListMembershipsRequest) { r.PageToken = r.PageToken[1:] },
	} {
		r := &teamv1.ListMembershipsRequest{
			WorkspaceId: base.WorkspaceId, PageSize: base.PageSize, Search: base.Search, Role: base.Role, State: base.State, Order: base.Order,
			PageToken: first.NextPageToken,
		}
		change(r)
		want := "PAGE_TOKEN_INVALID"
		if what == "" || what == "another page size" {
			want = ""
		}
		_, err := c.owner.Memberships.ListMemberships(t.Context(), r)
		if got := reasonOf(err); got != want {
			t.Errorf("with %s: %q, want %q (%v)", what, got, want, client.Reason(err))
		}
	}
}
