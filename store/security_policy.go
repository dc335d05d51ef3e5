package store

import (
	"context"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/team"
	"github.com/logicspike/manager/store/tenant"
)

// That a workspace is closed to sessions without a second factor is decided where the rule
// of each method is, by what the look-up of the membership finds: see authz.Membership.
// Here is how it comes to require one.

// RequireSecondFactor has a workspace require a second factor of its members, or no more.
// When it begins to, they are mailed, as notices.go says. The version must be the
// workspace's present one, unless it is 0.
//
// Errors: fault SECOND_FACTOR_REQUIRED_BY_WORKSPACE when the caller, who would be shut
// out, has proven none; ETAG_MISMATCH; NOT_FOUND.
func (s *Store) RequireSecondFactor(ctx context.Context, id ids.Workspace, required bool, version int64) (w *tenant.Workspace, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		a, err := t.lockTeam(ctx, id)
		if err != nil {
			return err
		}
		w = a.workspace
		if version != 0 && version != w.Version {
			return errETag()
		}
		if caller := authz.SessionFrom(ctx); required && (caller == nil || !caller.SecondFactorProven) {
			return fault.SecondFactorMissing()
		}
		before := w.SecondFactorRequired
		w.SecondFactorRequired = required
		if err := t.tenant.Update(ctx, w, t.now); err != nil {
			return err
		}
		if err := t.record(ctx, audit.Event{
			WorkspaceID: id, Action: "workspace.security_policy_updated", TargetID: id.String(),
			Details: map[string]any{"second_factor_required": map[string]any{"before": before, "after": required}},
		}); err != nil || before == required {
			return err
		}
		if !required {
			return t.tenant.DeletePolicyNotice(ctx, id)
		}
		if err := t.tenant.BeginPolicyNotice(ctx, id); err != nil {
			return err
		}
		return t.queueNotices(ctx)
	})
	return w, err
}

// tellPolicyPage has the next members of a workspace told, and reports whether there may be
// more. Nobody is told of a workspace that is deleted, or requires none any more.
func (t *tx) tellPolicyPage(ctx context.Context, id ids.Workspace) (more bool, err error) {
	w, err := t.tenant.LockWorkspace(ctx, id)
	if fault.Has(err, fault.Missing) {
		return false, nil // purged
	}
	if err != nil {
		return false, err
	}
	n, err := t.tenant.PolicyNotice(ctx, id)
	if err != nil || n == nil {
		return false, err
	}
	if w.Deleted() || !w.SecondFactorRequired {
		return false, t.tenant.DeletePolicyNotice(ctx, id)
	}
	members, err := t.team.Recipients(ctx, id, n.Last, ids.Membership{}, noticePage)
	if err != nil {
		return false, err
	}
	var letters []letter
	for _, m := range members {
		if m.Active {
			letters = append(letters, letter{Message: mail.Message{
				Template: mail.SecondFactorRequired, To: m.Address, Data: map[string]string{"workspace": w.Name},
			}, bulk: true})
		}
	}
	if err := t.mail(ctx, letters...); err != nil {
		return false, err
	}
	if len(members) < noticePage {
		return false, t.tenant.DeletePolicyNotice(ctx, id)
	}
	n.Last = members[len(members)-1].MembershipID
	return true, t.tenant.UpdatePolicyNotice(ctx, n)
}

// SecondFactorsOf returns which members have a second factor, and whether the caller may
// see that: who decides whether the workspace requires one.
func (s *Store) SecondFactorsOf(ctx context.Context, members []team.Membership) (have map[ids.User]bool, shown bool, err error) {
	update, ok := s.options.Permissions.Permission(updateWorkspace)
	if m, of := authz.MembershipFrom(ctx); !ok || !of || !m.Holds(update) {
		return nil, false, nil
	}
	users := make([]ids.User, len(members))
	for i := range members {
		users[i] = members[i].UserID
	}
	have, err = s.Auth.HaveSecondFactor(ctx, users)
	return have, true, s.constraints.Fault(err)
}

// updateWorkspace is the permission of the rule of UpdateSecurityPolicy.
const updateWorkspace = "workspace.update"
