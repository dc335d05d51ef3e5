package store_test

import (
	"context"
	"fmt"
	"time"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
	"github.com/logicspike/manager/store/team"
)

func (w *teamWorld) joinRequests() {
	ask := func(workspace ids.Workspace, user ids.User, address string) *team.JoinRequest {
		j := &team.JoinRequest{
			ID: ids.New[ids.JoinRequest](), WorkspaceID: workspace, UserID: user, Message: "please", State: team.JoinPending, CreateTime: now,
			DisplayName: "Ann", Address: address,
		}
		w.call("InsertJoinRequest", j)
		return j
	}
	first, second := ask(w.w, w.user, "user@example.com"), ask(w.w, w.owner, "owner@example.com")
	elsewhere := ask(w.own, w.user, "user@example.com")
	w.refused("a second pending one", "join_requests_pending_once", func() error {
		again := *first
		again.ID = ids.New[ids.JoinRequest]()
		return w.repository.InsertJoinRequest(w.t.Context(), &again)
	})
	w.want(first, "JoinRequest", w.w, first.ID)
	if _, err := w.repository.JoinRequest(w.t.Context(), w.w, elsewhere.ID); !fault.Has(err, fault.Missing) {
		w.t.Errorf("JoinRequest of another workspace: %v", err)
	}
	w.want([]team.JoinRequest{*elsewhere, *first}, "JoinRequestsOf", w.user, now)
	w.call("DecideJoinRequest", elsewhere, team.JoinRejected, now)
	w.want(elsewhere, "JoinRequest", w.own, elsewhere.ID)
	w.want([]team.JoinRequest{*elsewhere, *first}, "JoinRequestsOf", w.user, now.Add(-time.Second))
	w.want([]team.JoinRequest{*first}, "JoinRequestsOf", w.user, now)
	w.want(ids.JoinRequest{}, "ApproveJoinRequestOf", w.own, w.user, now.Add(time.Hour)) // which is not pending
	w.want(elsewhere, "JoinRequest", w.own, elsewhere.ID)
	w.want(first.ID, "ApproveJoinRequestOf", w.w, w.user, now)
	first.State, first.DecideTime = team.JoinApproved, now
	w.want(first, "JoinRequest", w.w, first.ID)
	w.want([]team.JoinRequest(nil), "JoinRequestsOf", w.user, now)

	for state, want := range map[team.JoinRequestState][]team.JoinRequest{
		"": {*second, *first}, team.JoinPending: {*second}, team.JoinApproved: {*first}, team.JoinRejected: nil,
	} {
		var pages []team.JoinRequest
		for token, more := "", true; more; more = token != "" {
			out := w.call("ListJoinRequests", w.w, state, postgres.Page{Size: 1, Token: token})
			pages, token = append(pages, out[0].([]team.JoinRequest)...), out[1].(string)
		}
		w.same(fmt.Sprintf("the requests in the state %q", state), want, pages)
	}
	token := w.call("ListJoinRequests", w.w, "", postgres.Page{Size: 1})[1].(string)
	w.badToken("a page's token of requests in another state", func(ctx context.Context, p postgres.Page) error {
		_, _, err := w.repository.ListJoinRequests(ctx, w.w, team.JoinPending, p)
		return err
	}, token)

	w.call("DeleteDecidedJoinRequests", now)
	w.want(first, "JoinRequest", w.w, first.ID)
	w.call("DeleteDecidedJoinRequests", now.Add(time.Second))
	inTurn(w.t, "the requests that nobody decided", w.call("ListJoinRequests", w.w, "", postgres.Page{})[0].([]team.JoinRequest), *second)
}

func (w *teamWorld) departures() {
	left, removed := tokenOf("left@example.com"), tokenOf("removed@example.com")
	is := func(hash secret.Hash, workspace ids.Workspace, departed, removed bool) {
		w.t.Helper()
		w.want(departed, "Departed", workspace, hash)
		w.want(removed, "Removed", workspace, hash)
	}
	is(left, w.w, false, false)
	w.call("RecordDeparture", w.w, left, false, now)
	w.call("RecordDeparture", w.w, left, false, now.Add(time.Hour)) // once more
	w.call("RecordDeparture", w.w, removed, true, now)
	is(left, w.w, true, false)
	is(removed, w.w, true, true)
	is(removed, w.own, false, false)
	w.call("RecordDeparture", w.w, removed, false, now) // who leaves later was removed all the same
	is(removed, w.w, true, true)
	w.call("RecordDeparture", w.w, left, true, now)
	is(left, w.w, true, true)
	w.call("ForgetDeparture", w.own, left)
	is(left, w.w, true, true)
	w.call("ForgetDeparture", w.w, left)
	is(left, w.w, false, false)
	is(removed, w.w, true, true)
}
