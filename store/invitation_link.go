package store

import (
	"context"
	"strconv"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/team"
)

// maxLinks is how many links of a workspace can be used at a time.
const maxLinks = 100

// NewLink is a wish for a link that several people can join by.
type NewLink struct {
	Workspace ids.Workspace
	Role      authz.Role
	Lifetime  time.Duration
	MaxUses   int      // 0 for any number
	Domains   []string // in ASCII form and lower case; none for all
}

// CreateInvitationLink makes a link, and returns its token, which is not kept.
//
// Errors: fault ROLE_NOT_GRANTABLE, EMAIL_UNVERIFIED; RATE_LIMITED when there are too
// many; FIELD_INVALID for the role.
func (s *Store) CreateInvitationLink(ctx context.Context, n NewLink) (l *team.Link, token string, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		a, err := t.lockTeam(ctx, n.Workspace)
		if err != nil {
			return err
		}
		if err := mayInvite(ctx); err != nil {
			return err
		}
		if n.Role == authz.Owner {
			return fault.Invalid("role", "cannot be owner: a link may come into anybody's hands")
		}
		if err := t.mayGrant(ctx, a, "role", n.Role); err != nil {
			return err
		}
		live, err := t.team.CountLinks(ctx, n.Workspace, t.now)
		if err != nil {
			return err
		}
		if live >= maxLinks {
			return fault.New(fault.ResourceExhausted, fault.RateLimited, "a workspace has "+strconv.Itoa(maxLinks)+" links at most; revoke one first")
		}
		token = secret.NewToken(prefixLink)
		hash := secret.HashOf(forLink, token)
		l = &team.Link{
			ID: ids.New[ids.InvitationLink](), WorkspaceID: n.Workspace, Role: n.Role,
			CreatorID: a.user(), CreatorServiceAccountID: a.program(), TokenHash: hash[:],
			Domains: n.Domains, MaxUses: n.MaxUses, CreateTime: t.now, ExpireTime: t.now.Add(n.Lifetime),
		}
		if err := t.team.InsertLink(ctx, l); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{
			WorkspaceID: n.Workspace, Action: "invitation_link.created", TargetID: l.ID.String(),
			Details: map[string]any{
				"role": l.Role, "expire_time": l.ExpireTime.Format(time.RFC3339), "max_uses": l.MaxUses, "domains": l.Domains,
			},
		})
	})
	return l, token, err
}

// RevokeInvitationLink ends a link.
//
// Errors: fault NOT_FOUND.
func (s *Store) RevokeInvitationLink(ctx context.Context, workspace ids.Workspace, id ids.InvitationLink) (l *team.Link, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.lockTeam(ctx, workspace); err != nil {
			return err
		}
		if l, err = t.team.LockLink(ctx, workspace, id); err != nil || !l.RevokeTime.IsZero() {
			return err
		}
		l.RevokeTime = t.now
		if err := t.team.UpdateLink(ctx, l); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{WorkspaceID: workspace, Action: "invitation_link.revoked", TargetID: l.ID.String()})
	})
	return l, err
}
