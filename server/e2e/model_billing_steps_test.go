package e2e

import (
	"fmt"
	"math/big"
	"time"

	"pgregory.net/rapid"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/testkit"
)

func (b *billed) begin(rt *rapid.T, owner *testkit.Person) {
	// From noon on, so that the seconds that a run takes never bring another day.
	b.at = b.Clock.Now().Truncate(24 * time.Hour).Add(36 * time.Hour)
	b.Clock.Advance(b.at.Sub(b.Clock.Now()))
	res, err := owner.Workspaces.CreateWorkspace(b.t.Context(), &tenantv1.CreateWorkspaceRequest{Name: "Acme"})
	b.answered(rt, "CreateWorkspace", err, "")
	p := *owner
	p.Workspace = res.Workspace
	b.owner, b.offer, b.state = &p, modelOffers[0], "active"
	b.members, b.tried, b.spent = map[*testkit.Person]string{}, map[string]bool{}, new(big.Rat)
	b.restart(b.at)
}

func (b *billed) change(rt *rapid.T) {
	o := pick(rt, "offer", modelOffers)
	currency, interval := o.choice()
	want := b.chosen(o)
	preview, err := previewPlan(b.t, b.owner, o.plan, currency, interval)
	if b.lives() { // which may be looked at otherwise
		b.answered(rt, "PreviewChangeSubscription", err, want)
	}
	etag := "none"
	if err == nil {
		etag = preview.Etag
	}
	_, err = changePlan(b.t, b.owner, o.plan, currency, interval, etag)
	b.answered(rt, "ChangeSubscription", err, want)
	if want != "" || o == b.offer {
		return
	}
	b.ending = false
	if b.charged() && o.months == b.offer.months && o.call == b.offer.call && o.freeCalls == b.offer.freeCalls {
		b.offer = o
		b.reprice()
		return
	}
	b.spend(b.at) // what is left of what was paid is given back
	b.rate = 0
	b.close()
	if b.offer = o; b.state == "trialing" {
		b.state = "active"
	}
	b.restart(b.at)
}

func (b *billed) try(rt *rapid.T) {
	o := pick(rt, "offer", modelOffers)
	want := b.chosen(o)
	again := b.state == "trialing" && o == b.offer
	switch {
	case want != "" || again:
	case o.trial == 0:
		want = "TRIAL_NOT_OFFERED"
	case b.tried[o.plan]:
		want = "TRIAL_USED"
	case b.offer.months > 0 || b.state != "active":
		want = "SUBSCRIPTION_STATE"
	}
	currency, interval := o.choice()
	_, err := b.owner.Subscriptions.StartTrial(b.t.Context(), &billingv1.StartTrialRequest{
		WorkspaceId: b.owner.Workspace.Id, Plan: o.plan, Currency: currency, Interval: interval,
	})
	b.answered(rt, "StartTrial", err, want)
	if want != "" || again {
		return
	}
	b.tried[o.plan] = true
	b.offer, b.state = o, "trialing"
	b.next()
	b.start, b.end = b.at, b.at.AddDate(0, 0, o.trial)
	b.anchor, b.number = b.end, -1
}

func (b *billed) cancelNow(rt *rapid.T) {
	if seldom(rt) {
		return
	}
	want := b.refused()
	_, err := b.owner.Subscriptions.CancelSubscription(b.t.Context(), &billingv1.CancelSubscriptionRequest{WorkspaceId: b.owner.Workspace.Id})
	b.answered(rt, "CancelSubscription", err, want)
	if want == "" && b.offer.months > 0 {
		b.cancel(b.at)
	}
}

func (b *billed) cancelLater(rt *rapid.T) {
	want := b.refused()
	_, err := b.owner.Subscriptions.CancelSubscription(b.t.Context(), &billingv1.CancelSubscriptionRequest{WorkspaceId: b.owner.Workspace.Id, AtPeriodEnd: true})
	b.answered(rt, "CancelSubscription later", err, want)
	switch {
	case want != "" || b.offer.months == 0:
	case b.state == "paused":
		b.cancel(b.at)
	default:
		b.ending = true
	}
}

func (b *billed) resume(rt *rapid.T) {
	want := b.refused()
	if want == "" && !b.ending && b.state == "paused" {
		want = "SUBSCRIPTION_UNPAID"
	}
	_, err := b.owner.Subscriptions.ResumeSubscription(b.t.Context(), &billingv1.ResumeSubscriptionRequest{WorkspaceId: b.owner.Workspace.Id})
	b.answered(rt, "ResumeSubscription", err, want)
	if want == "" {
		b.ending = false
	}
}

func (b *billed) buySeats(rt *rapid.T) {
	n := rapid.IntRange(0, 8).Draw(rt, "seats")
	want := b.refused()
	switch {
	case want != "":
	case b.state == "paused":
		want = "SUBSCRIPTION_STATE"
	case n > 0 && n != b.bought:
		want = b.fits(b.offer, n)
	}
	_, err := buySeats(b.t, b.owner, int32(n))
	b.answered(rt, "UpdateSeatCount", err, want)
	if want == "" {
		b.bought = n
		b.reprice()
	}
}

func (b *billed) join(rt *rapid.T) {
	mate := pick(rt, "mate", b.mates)
	if b.members[mate] != "" {
		return
	}
	want := b.refused()
	if limit := b.seatLimit(); want == "" && limit != 0 && b.seats() >= limit {
		want = "SEATS_EXHAUSTED"
	}
	res, err := b.owner.Invitations.CreateInvitation(b.t.Context(), &teamv1.CreateInvitationRequest{WorkspaceId: b.owner.Workspace.Id, Email: mate.Email})
	b.answered(rt, "CreateInvitation", err, want)
	if want != "" {
		return
	}
	joined, err := mate.Invitations.AcceptInvitation(b.t.Context(), &teamv1.AcceptInvitationRequest{InvitationId: res.Invitation.Id})
	b.answered(rt, "AcceptInvitation", err, "")
	b.members[mate] = joined.Membership.Id
	b.reprice()
}

func (b *billed) leave(rt *rapid.T) {
	mate := pick(rt, "mate", b.mates)
	if b.members[mate] == "" {
		return
	}
	want := b.refused()
	b.answered(rt, "RemoveMembership", removeMember(b.t, b.owner, b.members[mate]), want)
	if want == "" {
		delete(b.members, mate)
		b.reprice()
	}
}

func (b *billed) use(rt *rapid.T) {
	n := rapid.Int64Range(1, 18).Draw(rt, "calls")
	now := &b.used[len(b.used)-1]
	want := b.refused()
	switch {
	case want != "":
	case b.state == "paused":
		want = "SUBSCRIPTION_PAUSED"
	case b.offer.calls > 0 && *now+n > int64(b.offer.calls):
		want = "USAGE_LIMIT_REACHED"
	}
	b.names++
	_, err := record(b.t, b.owner, used(fmt.Sprint(b.names), "calls", n, time.Time{}))
	b.answered(rt, "RecordUsage", err, want)
	if want == "" {
		*now += n
	}
}

// seldom reports whether not to do what would keep the rest from happening.
func seldom(rt *rapid.T) bool { return rapid.IntRange(0, 3).Draw(rt, "really") > 0 }

func (b *billed) payAll(rt *rapid.T) {
	if seldom(rt) {
		return
	}
	b.pay(b.t, b.owner)
	if b.lives() {
		b.recover()
	}
}

func (b *billed) delete(rt *rapid.T) {
	if !b.lives() || seldom(rt) {
		return
	}
	b.stage.delete(b.t, b.owner, b.owner.Workspace.Id)
	b.seen["DeleteWorkspace"]++
	b.deleted = b.at
}

func (b *billed) undelete(rt *rapid.T) {
	want := ""
	if b.lives() {
		if seldom(rt) {
			return
		}
		want = isNotDeleted
	}
	_, err := b.owner.Workspaces.UndeleteWorkspace(b.t.Context(), &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: b.owner.Workspace.Id})
	b.answered(rt, "UndeleteWorkspace", err, want)
	if want != "" {
		return
	}
	deleted := b.deleted
	b.deleted = time.Time{}
	if !b.pastDue.IsZero() {
		b.pastDue = b.pastDue.Add(b.at.Sub(deleted))
	}
	switch {
	case b.state == "paused" || b.at.Before(b.end):
	case b.ending:
		b.cancel(deleted)
	default:
		b.seen["undeleted in another period"]++
		b.close()
		if b.state == "trialing" {
			b.state = "active"
		}
		b.restart(b.at)
	}
	b.settle()
	b.recover()
}

func (b *billed) advance(rt *rapid.T) {
	const day = 24 * time.Hour
	d := pick(rt, "by", []time.Duration{7 * time.Hour, 2 * day, 9 * day, 15 * day, 15 * day, 31 * day, 75 * day})
	b.Clock.Advance(d)
	b.at, b.now = b.at.Add(d), b.now+d
	b.billDue(b.t)
	if b.lives() {
		b.settle()
		b.dun()
	}
}
