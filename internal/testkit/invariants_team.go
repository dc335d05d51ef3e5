package testkit

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server"
	"github.com/logicspike/manager/store/team"
)

// teamInvariants are those of teams and domains that one query each can decide.
var teamInvariants = []invariant{
	{"a live workspace has an active owner", `
		SELECT w.id::text FROM tenant.workspaces w
		WHERE w.delete_time IS NULL
		  AND NOT EXISTS (SELECT 1 FROM team.memberships m WHERE m.workspace_id = w.id AND m.role = 'owner' AND m.deactivate_time IS NULL)`},

	{"a user belongs to a workspace once", `
		SELECT workspace_id || ' ' || user_id FROM team.memberships GROUP BY workspace_id, user_id HAVING count(*) > 1`},

	{"an address has one pending invitation to a workspace", `
		SELECT workspace_id || ' ' || address_key FROM team.invitations WHERE state = 'pending'
		GROUP BY workspace_id, address_key HAVING count(*) > 1`},

	{"an invitation names who accepted it, and nobody unless it was accepted", `
		SELECT id::text FROM team.invitations WHERE (state = 'accepted') <> (user_id IS NOT NULL)`},

	{"what has a custom role has one of its own workspace", `
		SELECT u.what || ' ' || u.id || ': ' || u.role
		FROM (SELECT 'membership' AS what, id, workspace_id, role FROM team.memberships
		      UNION ALL SELECT 'invitation', id, workspace_id, role FROM team.invitations
		      UNION ALL SELECT 'link', id, workspace_id, role FROM team.invitation_links) u
		WHERE u.role LIKE 'rol\_%' AND NOT EXISTS (SELECT 1 FROM team.roles r WHERE r.workspace_id = u.workspace_id AND r.id = u.role)`},

	{"a link is not used more often than it may be", `
		SELECT id::text FROM team.invitation_links WHERE max_uses > 0 AND use_count > max_uses`},

	{"nobody asks to join what they belong to", `
		SELECT j.id::text FROM team.join_requests j
		JOIN team.memberships m ON m.workspace_id = j.workspace_id AND m.user_id = j.user_id
		WHERE j.state = 'pending'`},

	{"a domain is verified by one workspace", `
		SELECT domain FROM tenant.domains WHERE verify_time IS NOT NULL GROUP BY domain HAVING count(*) > 1`},
}

// The invariants of teams that take more than a query.
const (
	membersAreFound    = "members are sorted and found by what identity calls them"
	membersHaveBegun   = "a membership began once in the log, with its workspace or by an event"
	membersHaveEnded   = "a membership that the log knows is there, or ended there once"
	membersAreSwitched = "a member is deactivated if, and only if, the log has one deactivation more than reactivations"
	grantsAreHeld      = "who made what can be joined by could make it now"
)

// checkTeam checks those.
func checkTeam(t testing.TB, tx pgx.Tx) error {
	t.Helper()
	told, err := membershipsInLog(t, tx)
	if err != nil {
		return err
	}
	rows, err := tx.Query(t.Context(), `
		SELECT m.id, m.workspace_id, m.deactivate_time IS NOT NULL, m.name_key, m.address_key, tsvector_to_array(m.terms),
		       p.display_name, coalesce(p.address_key, ''),
		       m.create_time = w.create_time AND EXISTS (
		           SELECT 1 FROM audit.events e
		           WHERE e.workspace_id = w.id AND e.action = 'workspace.created' AND e.actor_user_id = m.user_id)
		FROM team.memberships m
		JOIN tenant.workspaces w ON w.id = m.workspace_id
		JOIN identity.profiles p ON p.user_id = m.user_id`)
	if err != nil {
		return err
	}
	offenders := map[string][]string{}
	var id, workspace uuid.UUID
	var deactivated, founder bool
	var keys team.Keys
	var name, address string
	_, err = pgx.ForEachRow(rows, []any{&id, &workspace, &deactivated, &keys.Name, &keys.Address, &keys.Terms, &name, &address, &founder}, func() error {
		offend := func(promise, how string) { offenders[promise] = append(offenders[promise], id.String()+": "+how) }
		if want := team.KeysOf(ids.FromUUID[ids.Workspace](workspace), name, address); !sameKeys(keys, want) {
			offend(membersAreFound, fmt.Sprintf("%q, want %q", keys, want))
		}
		target := ids.FromUUID[ids.Membership](id).String()
		h := told[target]
		delete(told, target)
		if h.created != 1 && !(h.created == 0 && founder) || h.deleted != 0 || h.created+h.deactivated+h.reactivated > 0 && h.workspace != workspace {
			offend(membersHaveBegun, fmt.Sprintf("began %d times and ended %d times in the log of %s", h.created, h.deleted, h.workspace))
		}
		if (h.deactivated-h.reactivated == 1) != deactivated || h.deactivated-h.reactivated > 1 || h.deactivated < h.reactivated {
			offend(membersAreSwitched, fmt.Sprintf("%d deactivations, %d reactivations", h.deactivated, h.reactivated))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for target, h := range told { // of those who are no longer there
		if h.created > 1 || h.deleted != 1 {
			offenders[membersHaveEnded] = append(offenders[membersHaveEnded], fmt.Sprintf("%s: began %d times, ended %d times", target, h.created, h.deleted))
		}
	}
	for promise, found := range offenders {
		slices.Sort(found)
		report(t, promise, found)
	}
	return checkGrants(t, tx)
}

func sameKeys(a, b team.Keys) bool {
	sorted := func(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }
	return a.Name == b.Name && a.Address == b.Address && slices.Equal(sorted(a.Terms), sorted(b.Terms))
}

// told is what a workspace's log says of a membership.
type told struct {
	workspace                                  uuid.UUID
	created, deleted, deactivated, reactivated int
}

func membershipsInLog(t testing.TB, tx pgx.Tx) (map[string]told, error) {
	rows, err := tx.Query(t.Context(), `
		SELECT target_id, workspace_id,
		       count(*) FILTER (WHERE action = 'membership.created'), count(*) FILTER (WHERE action = 'membership.deleted'),
		       count(*) FILTER (WHERE action = 'membership.deactivated'), count(*) FILTER (WHERE action = 'membership.reactivated')
		FROM audit.events WHERE workspace_id IS NOT NULL AND target_id LIKE 'mem\_%' GROUP BY 1, 2`)
	if err != nil {
		return nil, err
	}
	found := map[string]told{}
	var target string
	var h told
	_, err = pgx.ForEachRow(rows, []any{&target, &h.workspace, &h.created, &h.deleted, &h.deactivated, &h.reactivated}, func() error {
		if other, twice := found[target]; twice {
			report(t, membersHaveBegun, []string{fmt.Sprintf("%s is in the logs of %s and %s", target, h.workspace, other.workspace)})
		}
		found[target] = h
		return nil
	})
	return found, err
}

// permissions are those that roles can hold, and the one to invite people.
var permissions = sync.OnceValues(func() (held struct {
	all    authz.Catalog
	invite authz.Permission
}, err error) {
	held.all, held.invite, err = server.Permissions()
	return held, err
})

// checkGrants checks that pending invitations, and links that are not revoked, are of
// active members who may invite people, and who hold all that they give, or of service
// accounts whose keys do.
func checkGrants(t testing.TB, tx pgx.Tx) error {
	t.Helper()
	held, err := permissions()
	if err != nil {
		return err
	}
	rows, err := tx.Query(t.Context(), `
		SELECT g.what || ' ' || g.id, g.role, coalesce(given.permissions, '{}'), coalesce(m.role, key.role, ''), coalesce(own.permissions, key.permissions, '{}')
		FROM (SELECT 'invitation' AS what, id, workspace_id, role, inviter_id AS by, inviter_service_account_id AS program
		      FROM team.invitations WHERE state = 'pending'
		      UNION ALL SELECT 'link', id, workspace_id, role, creator_id, creator_service_account_id
		      FROM team.invitation_links WHERE revoke_time IS NULL) g
		LEFT JOIN (SELECT workspace_id, service_account_id, 'rol_key' AS role, array_agg(DISTINCT p) AS permissions
		           FROM auth.api_keys, unnest(permissions) p GROUP BY 1, 2) key
		       ON key.workspace_id = g.workspace_id AND key.service_account_id = g.program
		LEFT JOIN team.roles given ON given.workspace_id = g.workspace_id AND given.id = g.role
		LEFT JOIN team.memberships m ON m.workspace_id = g.workspace_id AND m.user_id = g.by AND m.deactivate_time IS NULL
		LEFT JOIN team.roles own ON own.workspace_id = g.workspace_id AND own.id = m.role`)
	if err != nil {
		return err
	}
	var what string
	var role, own authz.Role
	var custom, ownCustom []string
	var offenders []string
	_, err = pgx.ForEachRow(rows, []any{&what, (*string)(&role), &custom, (*string)(&own), &ownCustom}, func() error {
		var lacks []string
		if !held.invite.HeldBy(own, ownCustom) {
			lacks = append(lacks, held.invite.Name)
		}
		for _, p := range held.all.HeldBy(role, custom) {
			if !p.HeldBy(own, ownCustom) {
				lacks = append(lacks, p.Name)
			}
		}
		if len(lacks) > 0 {
			offenders = append(offenders, fmt.Sprintf("%s as %s, of a member (%q) who lacks %s", what, role, own, strings.Join(lacks, ", ")))
		}
		return nil
	})
	report(t, grantsAreHeld, offenders)
	return err
}
