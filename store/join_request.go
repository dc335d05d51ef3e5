package store

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/team"
	"github.com/logicspike/manager/store/tenant"
)

// rejectionLasts is how long somebody who was rejected cannot ask again.
const rejectionLasts = 7 * 24 * time.Hour

// Joinable is a workspace that the caller may ask to join.
type Joinable struct {
	Enrollment *tenant.Enrollment
	Request    *team.JoinRequest // pending, or rejected not long ago; nil when there is none
}

// Joinable returns the workspace that a user's proven address entitles them to ask to
// join, unless they belong to it; nil when there is none. It is one at most, since one
// workspace has verified a domain.
func (s *Store) Joinable(ctx context.Context, user ids.User) (j *Joinable, err error) {
	err = s.read(ctx, func(ctx context.Context, t *tx) error {
		j, err = t.joinable(ctx, user)
		return err
	})
	return j, err
}

func (t *tx) joinable(ctx context.Context, user ids.User) (*Joinable, error) {
	e, err := t.tenant.EnrollmentOf(ctx, user)
	if err != nil || e == nil {
		return nil, err
	}
	if _, err := t.team.MembershipOf(ctx, e.WorkspaceID, user); err == nil || !fault.Has(err, fault.Missing) {
		return nil, err
	}
	j := &Joinable{Enrollment: e}
	requests, err := t.team.JoinRequestsOf(ctx, user, t.now.Add(-rejectionLasts))
	for i := range requests {
		if requests[i].WorkspaceID == e.WorkspaceID {
			j.Request = &requests[i]
			break
		}
	}
	return j, err
}

// CreateJoinRequest asks to join a workspace, and mails its owners. While a request
// is pending it returns that one.
//
// Errors: fault NOT_FOUND when the caller's proven address does not entitle them;
// ALREADY_MEMBER, MEMBERSHIP_DEACTIVATED; RATE_LIMITED when they were rejected not long
// ago.
func (s *Store) CreateJoinRequest(ctx context.Context, workspace ids.Workspace, message string) (j *team.JoinRequest, err error) {
	user := authz.SessionFrom(ctx).User
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if e, err := t.tenant.EnrollmentOf(ctx, user); err != nil || e == nil || e.WorkspaceID != workspace {
			return orMissing(err)
		}
		w, err := t.lockLive(ctx, workspace)
		if err != nil {
			return err
		}
		u, err := t.lockCaller(ctx, user)
		if err != nil {
			return err
		}
		if m, err := t.memberAlready(ctx, workspace, user); err != nil {
			return err
		} else if m != nil {
			return errMember()
		}
		found, err := t.joinable(ctx, user)
		if err != nil || found == nil {
			return orMissing(err)
		}
		if j = found.Request; j != nil && j.State == team.JoinPending {
			return nil
		} else if j != nil {
			return fault.New(fault.ResourceExhausted, fault.RateLimited, "your request was rejected; ask again later").
				WithRetryAfter(j.DecideTime.Add(rejectionLasts).Sub(t.now))
		}
		j = &team.JoinRequest{
			ID: ids.New[ids.JoinRequest](), WorkspaceID: workspace, UserID: user, Message: message, State: team.JoinPending, CreateTime: t.now,
			DisplayName: u.DisplayName, Address: u.Email.Address,
		}
		if err := t.team.InsertJoinRequest(ctx, j); err != nil {
			return err
		}
		if err := t.record(ctx, audit.Event{
			WorkspaceID: workspace, Action: "join_request.created", TargetID: j.ID.String(), Details: map[string]any{"user_id": user.String()},
		}); err != nil {
			return err
		}
		owners, err := t.team.Owners(ctx, workspace)
		if err != nil {
			return err
		}
		return t.mailMembers(ctx, owners, mail.JoinRequested, map[string]string{
			"workspace": w.Name, "name": j.DisplayName, "email": j.Address, "message": message,
		})
	})
	return j, err
}

// ApproveJoinRequest makes who asked a member, and mails them. Repeated it returns the
// same.
//
// Errors: fault NOT_FOUND, JOIN_REQUEST_DECIDED, ROLE_NOT_GRANTABLE, SEATS_EXHAUSTED;
// FIELD_INVALID for the role.
func (s *Store) ApproveJoinRequest(ctx context.Context, workspace ids.Workspace, id ids.JoinRequest, role authz.Role) (j *team.JoinRequest, m *team.Membership, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		a, err := t.lockTeam(ctx, workspace)
		if err != nil {
			return err
		}
		if j, err = t.team.JoinRequest(ctx, workspace, id); err != nil {
			return err
		}
		if err := t.mayGrant(ctx, a, "role", role); err != nil {
			return err
		}
		switch j.State {
		case team.JoinRejected:
			return errDecided()
		case team.JoinApproved:
			m, err = t.team.MembershipOf(ctx, workspace, j.UserID)
			if fault.Has(err, fault.Missing) || err == nil && m.Role != role {
				return errDecided() // they left since, or came with another role
			}
			return err
		}
		u, err := t.identity.LockUser(ctx, j.UserID)
		if err != nil {
			return err
		}
		if m, err = t.join(ctx, workspace, u, role, map[string]any{"join_request_id": id.String()}); err != nil {
			return err
		}
		j.State, j.DecideTime = team.JoinApproved, t.now // stored by join
		return t.mailMembers(ctx, []team.Membership{*m}, mail.JoinApproved, map[string]string{
			"workspace": a.workspace.Name, "name": u.DisplayName,
		})
	})
	return j, m, err
}

// RejectJoinRequest ends a request.
//
// Errors: fault NOT_FOUND, JOIN_REQUEST_DECIDED.
func (s *Store) RejectJoinRequest(ctx context.Context, workspace ids.Workspace, id ids.JoinRequest) (j *team.JoinRequest, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.lockTeam(ctx, workspace); err != nil {
			return err
		}
		if j, err = t.team.JoinRequest(ctx, workspace, id); err != nil {
			return err
		}
		switch j.State {
		case team.JoinRejected:
			return nil
		case team.JoinApproved:
			return errDecided()
		}
		if err := t.team.DecideJoinRequest(ctx, j, team.JoinRejected, t.now); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{
			WorkspaceID: workspace, Action: "join_request.rejected", TargetID: id.String(), Details: map[string]any{"user_id": j.UserID.String()},
		})
	})
	return j, err
}

func errDecided() error {
	return fault.New(fault.FailedPrecondition, fault.JoinRequestDecided, "the request was decided otherwise")
}
