package store

import (
	"maps"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/identity"
	"github.com/logicspike/manager/store/postgres"
	"github.com/logicspike/manager/store/team"
	"github.com/logicspike/manager/store/tenant"
)

// constraints returns the faults that the database's named constraints mean: those
// between the modules, whose user, workspace or session was gone when something of
// theirs was written, and each module's own.
func constraints() postgres.Constraints {
	all := postgres.Constraints{}
	for _, table := range []string{
		"memberships", "credentials", "sessions", "registrations", "email_changes", "events",
		"roles", "invitations", "invitation_links", "join_requests", "departures", "domains", "deletion_notices", "policy_notices",
		"disablements", "operators", "totp_factors", "recovery_codes", "passkeys", "external_identities", "devices", "api_keys",
		"api_key_requests", "service_accounts", "refresh_tokens", "subscriptions", "overrides", "customers", "provider_subscriptions",
		"invoices", "invoice_lines", "pending_lines", "usage_events", "usage_hours", "usage_totals", "periods", "trials", "provider_credits",
	} {
		all[table+"_user_id_fkey"] = errGone()
		all[table+"_workspace_id_fkey"] = fault.NotFoundFault()
		all[table+"_creator_id_fkey"] = errGone()
	}
	all["trials_once"] = errTrialUsed()
	all["sessions_impersonator_id_fkey"] = errGone()
	all["sessions_impersonator_session_id_fkey"] = fault.As(errNoSession())
	for _, table := range []string{"challenges", "email_challenges", "external_sign_ins", "refresh_tokens"} {
		all[table+"_session_id_fkey"] = fault.As(errNoSession()) // it ended while it was used
	}
	for _, module := range []postgres.Constraints{
		identity.Constraints, tenant.Constraints, team.Constraints, auth.ServiceAccountConstraints, auth.ExternalConstraints,
	} {
		maps.Copy(all, module)
	}
	return all
}

// Fault turns an error of the database into the fault that it means; other
// errors, and faults, are returned as they are.
func (s *Store) Fault(err error) error { return s.constraints.Fault(err) }
