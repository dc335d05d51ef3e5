package testkit

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"

	"github.com/logicspike/manager/client"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
)

func TestMain(m *testing.M) { Main(m) }

// breaks are statements that break the database, by the promises that they break;
// each alone, and without foreign keys and triggers. $w and $o are workspaces, $u, $v
// and $x users, and $m is the membership of $u in $w.
var breaks = map[string][]string{
	"a user registered, or was imported, exactly once": {
		"UPDATE audit.events SET action = 'user.renamed' WHERE action = 'user.registered' AND user_id = $u",
	},
	"every user was given a workspace, or a membership, by the transaction that registered them": {
		"UPDATE audit.events SET tx = '1' WHERE action = 'workspace.created' AND workspace_id = $w",
		"UPDATE audit.events SET tx = '1' WHERE action = 'membership.created' AND details ->> 'user_id' = (SELECT target_id FROM audit.events WHERE user_id = $x AND action = 'user.registered')",
	},
	"a workspace was created exactly once": {
		"INSERT INTO audit.events SELECT gen_random_uuid(), tx, workspace_id, user_id, actor_kind, actor_user_id, action, target_id, details, create_time FROM audit.events WHERE action = 'workspace.created' AND workspace_id = $w",
		"DELETE FROM audit.events WHERE action = 'workspace.created' AND workspace_id = $w",
	},
	"a workspace is deleted if, and only if, its log has one deletion more than undeletions": {
		"UPDATE tenant.workspaces SET delete_time = now(), purge_time = now(), delete_etag = '' WHERE id = $w",
	},
	"members are told of a deletion while there is one, and else of a restoration until all know": {
		"INSERT INTO tenant.deletion_notices VALUES ($w, false, NULL, NULL, true)",
		"INSERT INTO tenant.deletion_notices VALUES ($w, true, NULL, gen_random_uuid(), false)",
	},
	"members are told that a second factor is required only where it is": {"INSERT INTO tenant.policy_notices VALUES ($w, NULL)"},
	"a workspace requires a second factor if, and only if, its log says so last": {
		"UPDATE tenant.workspaces SET second_factor_required = true WHERE id = $w",
	},
	"a session tells of a second factor only if it was proven there, and its account has one": {
		"UPDATE auth.sessions SET second_factor_proven = true WHERE user_id = $u",
		"UPDATE auth.sessions SET second_factor_proven = true, methods = '{totp}' WHERE user_id = $u",
	},
	"a workspace is purged once, and then gone from the log": {
		"INSERT INTO audit.events SELECT gen_random_uuid(), '1', NULL, NULL, actor_kind, NULL, 'workspace.purged', target_id, details, create_time FROM audit.events WHERE action = 'workspace.created' AND workspace_id = $w",
	},
	"what is left of a purged workspace or a deleted user names nobody": {
		"INSERT INTO audit.events SELECT gen_random_uuid(), tx, NULL, user_id, actor_kind, NULL, 'user.deleted', '', details, create_time FROM audit.events WHERE user_id = $u",
	},
	"an event is in the log of a workspace or of an account": {
		"INSERT INTO audit.events SELECT gen_random_uuid(), tx, NULL, NULL, actor_kind, NULL, 'user.renamed', '', details, create_time FROM audit.events WHERE user_id = $u",
	},
	"an address belongs to one user": {
		"ALTER TABLE identity.emails DROP CONSTRAINT emails_address_key_unique; UPDATE identity.emails SET address_key = 'same'",
	},
	"who has no address is a voided account: without a password, without sessions": {
		"DELETE FROM identity.emails WHERE user_id = $u",
	},
	"a verified registration names the user it created; the workspace may be purged since": {
		"UPDATE auth.registrations SET user_id = NULL WHERE user_id = $u",
	},
	"one account comes of one registration": {
		"INSERT INTO auth.registrations SELECT (jsonb_populate_record(r, jsonb_build_object('id', gen_random_uuid(), 'request_id', NULL, 'token_hash', ''))).* FROM auth.registrations r WHERE user_id = $u",
	},
	"of several registrations of one address, those that are older than the verified one have ended": {
		"INSERT INTO auth.registrations SELECT (jsonb_populate_record(r, jsonb_build_object('id', gen_random_uuid(), 'request_id', NULL, 'token_hash', 'x', 'user_id', NULL, 'workspace_id', NULL, 'verify_time', NULL, 'create_time', r.create_time - interval '1 hour'))).* FROM auth.registrations r WHERE user_id = $u",
	},
	eventsAreInTheirLog: {
		"UPDATE audit.events SET target_id = 'usr_0' WHERE action = 'user.registered' AND user_id = $u",
	},

	"a live workspace has an active owner": {
		"UPDATE team.memberships SET role = 'admin' WHERE workspace_id = $w AND role = 'owner'",
		"UPDATE team.memberships SET deactivate_time = now() WHERE workspace_id = $w AND role = 'owner'",
		"DELETE FROM team.memberships WHERE workspace_id = $w AND role = 'owner'",
	},
	"a user belongs to a workspace once": {
		"ALTER TABLE team.memberships DROP CONSTRAINT memberships_once; INSERT INTO team.memberships (id, workspace_id, user_id, role, create_time, update_time) SELECT gen_random_uuid(), workspace_id, user_id, role, create_time, update_time FROM team.memberships WHERE workspace_id = $w",
	},
	"an address has one pending invitation to a workspace": {
		"DROP INDEX team.invitations_pending_once; UPDATE team.invitations SET state = 'pending', end_time = NULL, user_id = NULL, address_key = 'same' WHERE workspace_id = $w",
	},
	"an invitation names who accepted it, and nobody unless it was accepted": {
		"UPDATE team.invitations SET user_id = NULL WHERE state = 'accepted'",
		"UPDATE team.invitations SET user_id = $u WHERE state = 'pending'",
	},
	"what has a custom role has one of its own workspace": {
		"DELETE FROM team.roles WHERE workspace_id = $w",
		"UPDATE team.roles SET workspace_id = $o WHERE workspace_id = $w",
		"UPDATE team.invitations SET role = 'rol_0' WHERE state = 'accepted'",
		"UPDATE team.invitation_links SET role = 'rol_0'",
	},
	"a link is not used more often than it may be": {
		"ALTER TABLE team.invitation_links DROP CONSTRAINT invitation_links_not_overused; UPDATE team.invitation_links SET use_count = max_uses + 1",
	},
	"nobody asks to join what they belong to": {
		"UPDATE team.join_requests SET user_id = $u, workspace_id = $w",
	},
	"a domain is verified by one workspace": {
		"DROP INDEX tenant.domains_verified_once; UPDATE tenant.domains SET verify_time = now()",
	},
	membersAreFound: {
		"UPDATE team.memberships SET name_key = 'x' WHERE id = $m",
		"UPDATE team.memberships SET address_key = 'x' WHERE id = $m",
		"UPDATE team.memberships SET terms = '' WHERE id = $m",
		"UPDATE team.memberships SET terms = terms || 'x' WHERE id = $m",
		"UPDATE identity.users SET display_name = 'Somebody else' WHERE id = $u",
		"UPDATE identity.emails SET address_key = 'x@example.com' WHERE user_id = $u",
	},
	membersHaveBegun: {
		"DELETE FROM audit.events WHERE action = 'membership.created'",
		"INSERT INTO audit.events SELECT gen_random_uuid(), tx, workspace_id, user_id, actor_kind, actor_user_id, action, target_id, details, create_time FROM audit.events WHERE action = 'membership.created' AND workspace_id = $w",
		"UPDATE audit.events SET action = 'membership.deleted' WHERE action = 'membership.role_changed'",
		"UPDATE audit.events SET workspace_id = $o WHERE action = 'membership.created' AND workspace_id = $w",
	},
	membersHaveEnded: {
		"DELETE FROM team.memberships WHERE id = $m",
		"INSERT INTO audit.events SELECT gen_random_uuid(), tx, workspace_id, user_id, actor_kind, actor_user_id, action, target_id, details, create_time FROM audit.events WHERE action = 'membership.deleted'",
	},
	membersAreSwitched: {
		"UPDATE team.memberships SET deactivate_time = now() WHERE id = $m",
		"UPDATE team.memberships SET deactivate_time = NULL WHERE deactivate_time IS NOT NULL",
		"UPDATE audit.events SET action = 'membership.reactivated' WHERE action = 'membership.deactivated'",
	},
	"who has an address has a way to sign in, unless the account was voided": {
		"UPDATE identity.emails SET verified_time = NULL WHERE user_id = $u; DELETE FROM auth.credentials WHERE user_id = $u",
	},
	"who has a factor, a passkey, an identity or an API key has a proven address": {
		"UPDATE identity.emails SET verified_time = NULL WHERE user_id = $u; " + totp + passkey,
		"UPDATE identity.emails SET verified_time = NULL WHERE user_id = $u; " + identity,
		"UPDATE identity.emails SET verified_time = NULL WHERE user_id = $u; " + apiKey,
	},
	"recovery codes are of who has a second factor": {recoveryCode},
	"nobody has more than ten recovery codes": {
		totp + "INSERT INTO auth.recovery_codes SELECT $u, decode(n::text, 'escape'), now() FROM generate_series(1, 11) n",
	},
	"a session that owes its second factor ends within ten minutes": {
		"UPDATE auth.sessions SET second_factor_pending = true WHERE user_id = $u",
	},
	"a full session that began after its account had a second factor proved one": {
		totp + "UPDATE auth.totp_factors SET confirm_time = '2000-01-01'",
		passkey + "UPDATE auth.passkeys SET create_time = '2000-01-01'",
	},
	"a disabled account has no session": {
		"INSERT INTO auth.disablements VALUES ($u, NULL, 'test', now())",
	},
	"an impersonation is by an operator, has a reason, and ends within 30 minutes": {
		"UPDATE auth.sessions SET impersonator_id = $v, impersonation_reason = 'test', expire_time = create_time WHERE user_id = $u",
		"INSERT INTO auth.operators VALUES ($v, now()); UPDATE auth.sessions SET impersonator_id = $v, impersonation_reason = 'test' WHERE user_id = $u",
		"INSERT INTO auth.operators VALUES ($v, now()); UPDATE auth.sessions SET impersonator_id = $v, expire_time = create_time WHERE user_id = $u",
	},
	"a refresh token for a workspace is of an active member": {
		refreshToken + "UPDATE auth.refresh_tokens SET workspace_id = $o",
		refreshToken + "UPDATE team.memberships SET deactivate_time = now() WHERE id = $m",
	},
	"a line of refresh tokens ends with its session at the latest": {
		refreshToken + "UPDATE auth.refresh_tokens SET expire_time = '3000-01-01'",
	},
	"of a line of refresh tokens it is known which came before, if and only if one was used": {
		refreshToken + "UPDATE auth.refresh_tokens SET generation = 2",
		refreshToken + "UPDATE auth.refresh_tokens SET previous_hash = '\\x01'",
		refreshToken + "UPDATE auth.refresh_tokens SET successor = '\\x01'",
		refreshToken + "UPDATE auth.refresh_tokens SET generation = 2, rotate_time = now(), previous_hash = token_hash",
	},
	"a signing key is published before it is used, and after it was used unless it was revoked": {
		signingKey,
		signingKey + "UPDATE auth.signing_keys SET create_time = '1999-01-01', retire_time = activate_time - interval '1 day', expire_time = activate_time",
		signingKey + "UPDATE auth.signing_keys SET create_time = '1999-01-01', retire_time = activate_time + interval '1 day', expire_time = activate_time",
	},
	"an operator has a proven address, and was made one last by the log": {
		"INSERT INTO auth.operators VALUES ($u, now())",
		operator + "UPDATE identity.emails SET verified_time = NULL WHERE user_id = $u",
		operator + "UPDATE audit.events SET action = 'operator.removed' WHERE action = 'operator.added'",
	},
	"a challenge by mail is of a session, or bound to who asked, and is over after ten minutes or five tries": {
		emailChallenge + "UPDATE auth.email_challenges SET binding_hash = NULL",
		emailChallenge + "UPDATE auth.email_challenges SET session_id = (SELECT id FROM auth.sessions LIMIT 1)",
		emailChallenge + "UPDATE auth.email_challenges SET expire_time = expire_time + interval '1 second'",
		emailChallenge + "UPDATE auth.email_challenges SET attempts = 6",
	},
	"a challenge for passkeys is of a session unless it is to sign in, and is over after five minutes": {
		challenge + "UPDATE auth.challenges SET purpose = 'registration'",
		challenge + "UPDATE auth.challenges SET session_id = (SELECT id FROM auth.sessions LIMIT 1)",
		challenge + "UPDATE auth.challenges SET expire_time = expire_time + interval '1 second'",
	},
	"a sign-in at a provider is of a session unless it is to sign in, is over after ten minutes, and has a result only once it came back": {
		externalSignIn + "UPDATE auth.external_sign_ins SET purpose = 'link'",
		externalSignIn + "UPDATE auth.external_sign_ins SET session_id = (SELECT id FROM auth.sessions LIMIT 1)",
		externalSignIn + "UPDATE auth.external_sign_ins SET expire_time = expire_time + interval '1 second'",
		externalSignIn + "UPDATE auth.external_sign_ins SET result = '', return_time = now()",
		externalSignIn + "UPDATE auth.external_sign_ins SET result = '', result_hash = ''",
	},
	"nobody is known on more than twenty devices": {
		"INSERT INTO auth.devices SELECT gen_random_uuid(), $u, decode(to_hex(n + 16), 'hex'), '', now(), now() FROM generate_series(1, 21) n",
	},
	"failures count for as long as their key has to wait, and none is below zero": {
		"INSERT INTO auth.failures VALUES ('', -1, now(), now())",
		"INSERT INTO auth.failures VALUES ('', 1, now() + interval '1 second', now())",
	},
	"at most one signing key is the current one": {
		signingKey + signingKey,
	},
	recordedOnce: {totp, passkey, identity},
	grantsAreHeld: {
		"UPDATE team.memberships SET role = 'viewer' WHERE id = $m",
		"UPDATE team.memberships SET deactivate_time = now() WHERE id = $m",
		"DELETE FROM team.memberships WHERE id = $m",
		"UPDATE team.invitations SET inviter_id = NULL WHERE state = 'pending'",
		"UPDATE team.invitation_links SET creator_id = $v",
		"UPDATE team.roles SET permissions = array_remove(permissions, 'invitation.create')",
		"UPDATE team.invitations SET role = 'owner' WHERE state = 'pending'",
		"UPDATE auth.api_keys SET permissions = array_remove(permissions, 'invitation.create')",
		"DELETE FROM auth.api_keys",
	},
	"a user's API key is of an active member of its workspace": {
		"DELETE FROM team.memberships WHERE id = $m",
		"UPDATE team.memberships SET deactivate_time = now() WHERE id = $m",
		"UPDATE auth.api_keys SET workspace_id = $o",
	},
	"a service account's API key is of its own workspace": {
		"DELETE FROM auth.service_accounts",
		"UPDATE auth.service_accounts SET workspace_id = $o",
	},
	"a voided account has no API key": {
		"DELETE FROM identity.emails WHERE user_id = $u",
	},
	keysHoldLess: {
		"UPDATE auth.api_keys SET permissions = permissions || '{workspace.delete}'",
	},
	"a workspace has one subscription that lives, and none when it is deleted": {
		"DELETE FROM billing.subscriptions",
		"UPDATE billing.subscriptions SET state = 'canceled', former_state = 'active', cancel_time = now(), cancel_reason = 'workspace_deleted'",
		"UPDATE tenant.workspaces SET delete_time = now(), purge_time = now(), delete_etag = 'x'",
	},
	"a deleted workspace has a subscription that goes on when it is undeleted": {
		"DELETE FROM billing.subscriptions; UPDATE tenant.workspaces SET delete_time = now(), purge_time = now(), delete_etag = 'x'",
	},
	"seats are active members": {
		"UPDATE billing.subscriptions SET seats = seats + 1",
		"UPDATE team.memberships SET deactivate_time = now()",
	},
	"a subscription is tried until its periods begin": {
		"UPDATE billing.subscriptions SET state = 'trialing', trial_end_time = anchor_time + interval '1 day'" + aPeriod,
		"UPDATE billing.subscriptions SET state = 'trialing', trial_end_time = anchor_time - interval '1 day'" + aPeriod,
	},
	"a subscription has a period if, and only if, it has a price or is tried; it is the one that its anchor has": {
		"ALTER TABLE billing.subscriptions DROP CONSTRAINT subscriptions_period; UPDATE billing.subscriptions SET state = state" + aPeriod,
		"UPDATE billing.subscriptions SET currency = 'EUR', due_interval = 'month', anchor_time = now() + interval '1 hour'" + aPeriod,
	},
	"a subscription has the price that its plan names, or none when that costs nothing": {
		"UPDATE billing.subscriptions SET currency = 'EUR', due_interval = 'month'" + aPeriod,
		"UPDATE billing.plan_versions SET definition = definition || '{\"prices\": [{\"currency\": \"EUR\", \"interval\": \"month\"}]}'",
		"UPDATE billing.plan_versions SET definition = definition || '{\"prices\": [{\"currency\": \"USD\", \"interval\": \"month\"}]}'; " +
			"UPDATE billing.subscriptions SET currency = 'EUR', due_interval = 'month'" + aPeriod,
	},
	"a subscription is past due since a time, and reminded of it at another; no other is": {
		"UPDATE billing.subscriptions SET past_due_time = now(), dunning_time = now()",
		"UPDATE billing.subscriptions SET state = 'past_due', past_due_time = now()",
	},
	"no two periods of a subscription overlap, and the present one comes after them": {
		"INSERT INTO billing.periods SELECT workspace_id, id, d, d + interval '2 days', plan, plan_version FROM billing.subscriptions, unnest('{2020-01-01, 2020-01-02}'::timestamptz[]) d",
		"INSERT INTO billing.periods SELECT workspace_id, id, now() - interval '1 day', now() + interval '1 second', plan, plan_version FROM billing.subscriptions; " +
			"UPDATE billing.subscriptions SET currency = 'EUR', due_interval = 'month'" + aPeriod,
	},
	"a period is of a subscription of its workspace": {
		"INSERT INTO billing.periods SELECT $o, id, now() - interval '2 days', now() - interval '1 day', plan, plan_version FROM billing.subscriptions WHERE workspace_id = $w",
	},
	"what is tried, or was, counts as a trial": {
		"UPDATE billing.subscriptions SET trial_end_time = anchor_time",
	},
	"one plan is the default, and it is offered": {
		"UPDATE billing.plans SET is_default = false",
		"UPDATE billing.plans SET offered = false",
	},
	"a plan has its versions from the first to the present one": {
		"UPDATE billing.plans SET version = 2",
		"INSERT INTO billing.plan_versions SELECT plan, 2, definition, now() FROM billing.plan_versions",
	},
	"what is at the provider is of a workspace that is there, or it ends": {
		provided + "UPDATE billing.provider_subscriptions SET workspace_id = gen_random_uuid()",
		provided + "UPDATE billing.provider_subscriptions SET desired = 'ending'",
		provided + "UPDATE billing.provider_subscriptions SET desired = 'canceled', workspace_id = gen_random_uuid()",
	},
	"what is at the provider is the subscription of its workspace": {
		provided + "UPDATE billing.subscriptions SET provider = 'manual'",
		provided + "UPDATE billing.provider_subscriptions SET workspace_id = $o",
	},
	"what was told by the provider came before it was followed": {
		"INSERT INTO billing.webhook_events VALUES ('evt_1', 'x', 'sub_1', NULL, 0, now(), now(), now() - interval '1 second')",
		"INSERT INTO billing.webhook_events VALUES ('evt_1', 'x', NULL, NULL, 0, now(), now(), NULL)",
	},
	"what a workspace has at the provider is of the customer that it is there": {
		provided + "INSERT INTO billing.customers VALUES ($w, 'cus_2', now())",
	},
	"no more is credited at the provider than was paid here": {providerCredit},
	"this server has one name at the provider": {
		"DELETE FROM billing.installation",
	},
	"an override gives one kind of value": {
		"INSERT INTO billing.overrides VALUES ($w, 'sso', '{}', 'test', now())",
		"INSERT INTO billing.overrides VALUES ($w, 'sso', '{\"enabled\": true, \"limit\": {}}', 'test', now())",
	},
	"an invoice of our own is what its lines come to": {
		"UPDATE billing.invoices SET subtotal = subtotal + 1, total = total + 1",
		"UPDATE billing.invoices SET tax = tax + 1, total = total + 1",
		"UPDATE billing.invoice_lines SET currency = 'USD'",
		"DELETE FROM billing.invoice_lines",
	},
	"an invoice with its lines, and what waits for one, is of the workspace that is subscribed": {
		"UPDATE billing.invoices SET workspace_id = $o",
		"UPDATE billing.invoice_lines SET workspace_id = $o",
		"UPDATE billing.pending_lines SET workspace_id = $o",
	},
	"an invoice is in the register as it was issued": {
		"UPDATE billing.invoice_register SET total = total + 1",
		"DELETE FROM billing.invoice_register",
	},
	"the numbers of an issuer are in the register, without a gap": {
		"UPDATE billing.invoice_numbers SET last = last + 1",
		"UPDATE billing.invoice_register SET number = number || '0'",
	},
	"an invoice of our own was issued once, and then paid or voided at most once": {
		"DELETE FROM audit.events WHERE action = 'invoice.issued'",
		"UPDATE billing.invoices SET state = 'paid', paid_time = now()",
		"UPDATE billing.invoices SET state = 'void', void_time = now()",
		"UPDATE audit.events SET action = 'invoice.paid' WHERE action = 'invoice.issued'",
	},
	"what was used in an hour is what its events add up to": {
		"DELETE FROM billing.usage_events",
		"UPDATE billing.usage_events SET quantity = quantity + 1",
		"UPDATE billing.usage_events SET meter = 'another'",
		"UPDATE billing.usage_events SET event_time = event_time - interval '1 hour'",
		"UPDATE billing.usage_hours SET quantity = quantity + 1",
		"DELETE FROM billing.usage_hours",
	},
	"what was used in periods is what was used in hours": {
		"UPDATE billing.usage_totals SET quantity = quantity + 1",
		"UPDATE billing.usage_hours SET quantity = quantity + 1",
		"DELETE FROM billing.usage_totals",
		"DELETE FROM billing.usage_hours",
	},
	programsAreInLog: {
		"DELETE FROM audit.events WHERE action = 'api_key.created'",
		"UPDATE audit.events SET action = 'service_account.deleted' WHERE action = 'service_account.created'",
		"UPDATE audit.events SET workspace_id = $o WHERE action = 'api_key.created'",
	},
}

// Statements that add what an invariant is about, without the event of it.
const (
	aPeriod        = ", period_start_time = now(), period_end_time = now() + interval '1 day'"
	totp           = "INSERT INTO auth.totp_factors VALUES (gen_random_uuid(), $u, 'App', '', now(), now(), 0, now()); "
	recoveryCode   = "INSERT INTO auth.recovery_codes VALUES ($u, '\\x01', now()); "
	passkey        = "INSERT INTO auth.passkeys VALUES (gen_random_uuid(), $u, 'Key', '\\x01', '', 0, '{}', NULL, false, false, now()); "
	identity       = "INSERT INTO auth.external_identities VALUES (gen_random_uuid(), $u, 'test', 'https://test', 'subject', '', now()); "
	refreshToken   = "INSERT INTO auth.refresh_tokens (id, session_id, audience, workspace_id, line_hash, generation, token_hash, create_time, expire_time) SELECT gen_random_uuid(), id, 'test', $w, '', 1, '', now(), now() FROM auth.sessions WHERE user_id = $u LIMIT 1; "
	operator       = "INSERT INTO auth.operators VALUES ($u, now()); INSERT INTO audit.events (id, user_id, actor_kind, action, target_id, create_time) SELECT gen_random_uuid(), user_id, 'system', 'operator.added', target_id, now() FROM audit.events WHERE action = 'user.registered' AND user_id = $u; "
	emailChallenge = "INSERT INTO auth.email_challenges (id, address_key, code_hash, token_hash, binding_hash, transport, create_time, expire_time) VALUES (gen_random_uuid(), 'x', '', '', '', 'bearer', now(), now() + interval '10 minutes'); "
	challenge      = "INSERT INTO auth.challenges (id, purpose, data, create_time, expire_time) VALUES (gen_random_uuid(), 'sign_in', '', now(), now() + interval '5 minutes'); "
	externalSignIn = "INSERT INTO auth.external_sign_ins (id, provider, purpose, transport, state_hash, binding_hash, sealed, return_url, create_time, expire_time) VALUES (gen_random_uuid(), 'test', 'sign_in', 'bearer', '', '', '', '', now(), now() + interval '10 minutes'); "
	signingKey     = "INSERT INTO auth.signing_keys VALUES (gen_random_uuid(), '', '', now(), '2000-01-01'); "
	providerCredit = "INSERT INTO billing.provider_credits VALUES (gen_random_uuid(), $w, 'cus_1', 'EUR', 100, 0, 0, now(), NULL, now()); "
	provided       = "UPDATE billing.subscriptions SET provider = 'stripe'; INSERT INTO billing.provider_subscriptions SELECT 'sub_1', 'cus_1', workspace_id, id, 'live', '[]', false, NULL, 1, 1, 0, 0, 0, 0, now(), NULL, NULL, now(), now() FROM billing.subscriptions WHERE workspace_id = $w; "
	apiKey         = "INSERT INTO auth.api_keys (id, workspace_id, user_id, creator_id, display_name, permissions, token_hash, hint, create_time, expire_time) VALUES (gen_random_uuid(), $w, $u, $u, 'Key', '{}', '\\x01', '', now(), now()); "
	serviceAccount = "INSERT INTO auth.service_accounts (id, workspace_id, display_name, name_key, creator_id, create_time, update_time) VALUES (gen_random_uuid(), $w, 'Robot', 'another robot', $u, now(), now()); " +
		"INSERT INTO auth.api_keys (id, workspace_id, service_account_id, creator_id, display_name, permissions, token_hash, hint, create_time, expire_time) SELECT gen_random_uuid(), $w, id, $u, 'Key', '{}', '\\x02', '', now(), now() FROM auth.service_accounts WHERE name_key = 'another robot'; "
)

// TestEachInvariantIsFoundWhenItIsBroken breaks the database in one way after the
// other, and proves that the checks see it.
func TestEachInvariantIsFoundWhenItIsBroken(t *testing.T) {
	t.Parallel()
	s := New(t, Options{})
	named := s.world(t)
	find := func(sql string) string {
		t.Helper()
		found := &reporter{TB: t}
		undo := errors.New("undo")
		if err := pgx.BeginFunc(t.Context(), s.SQL, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), "SET LOCAL session_replication_role = replica; "+named.Replace(sql)); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
			if err := checkInvariants(found, tx); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
			return undo
		}); !errors.Is(err, undo) {
			t.Fatal(err)
		}
		return strings.Join(found.errors, "\n")
	}
	if found := find("SELECT"); found != "" {
		t.Fatalf("before anything is broken: %s", found)
	}
	promises := []string{eventsAreInTheirLog, membersAreFound, membersHaveBegun, membersHaveEnded, membersAreSwitched, grantsAreHeld, recordedOnce, keysHoldLess, programsAreInLog}
	for _, i := range slices.Concat(invariants, teamInvariants, authInvariants, programInvariants, billingInvariants) {
		promises = append(promises, i.promise)
	}
	for _, promise := range promises {
		if len(breaks[promise]) == 0 {
			t.Errorf("nothing here breaks: %s", promise)
		}
		for _, sql := range breaks[promise] {
			if found := find(sql); !strings.Contains(found, promise) {
				t.Errorf("broken by %q, and not found: %s; found: %q", sql, promise, found)
			}
		}
	}
	for what, sql := range map[string]string{"operator": operator, "challenge by mail": emailChallenge, "challenge for passkeys": challenge, "sign-in at a provider": externalSignIn} {
		if found := find(sql); found != "" {
			t.Errorf("a sound %s is found: %s", what, found)
		}
	}
	if len(breaks) != len(promises) {
		t.Errorf("%d promises are broken here, of %d", len(breaks), len(promises))
	}

	// Every column that names a user or a workspace.
	var children []invariant
	if err := pgx.BeginFunc(t.Context(), s.SQL, func(tx pgx.Tx) (err error) {
		children, err = parents(t.Context(), tx)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	more := provided + "INSERT INTO billing.customers VALUES ($w, 'cus_1', now()); " +
		"INSERT INTO billing.overrides VALUES ($w, 'sso', '{\"enabled\": true}', 'test', now()); " +
		"INSERT INTO auth.api_key_requests VALUES ($w, gen_random_uuid(), now()); INSERT INTO billing.trials VALUES ($w, 'free', now()); " +
		"INSERT INTO tenant.deletion_notices VALUES ($w, false, NULL, NULL, true); INSERT INTO tenant.policy_notices VALUES ($w, NULL); " +
		"INSERT INTO billing.periods SELECT workspace_id, id, now() - interval '1 day', now(), plan, plan_version FROM billing.subscriptions; " +
		providerCredit + totp + recoveryCode + passkey + identity + refreshToken + apiKey + serviceAccount +
		"INSERT INTO auth.disablements VALUES ($u, NULL, 'test', now()); INSERT INTO auth.operators VALUES ($u, now()); " +
		"INSERT INTO auth.devices VALUES (gen_random_uuid(), $u, '', '', now(), now()); UPDATE auth.sessions SET impersonator_id = $v; "
	without := find(more+"DELETE FROM identity.users") + find(more+"DELETE FROM tenant.workspaces")
	for _, child := range children {
		if !strings.Contains(without, child.promise) {
			t.Errorf("broken, and not found: %s", child.promise)
		}
	}
	for _, column := range []string{"team.invitations has nothing without its inviter_id", "team.invitation_links has nothing without its creator_id"} {
		if !strings.Contains(without, column) {
			t.Errorf("broken, and not found: %s", column)
		}
	}
}

// promiseless are the tables of which no invariant tells anything, but for the
// parents of their rows, and why.
var promiseless = map[string]string{
	"auth.api_key_requests":  "of requests whose keys may have ended, of a workspace, which parents checks",
	"auth.throttles":         "counters of their own, which any value of is sound",
	"auth.password_resets":   "stored for every address, known or not, and of nobody",
	"identity.email_changes": "of a user, which parents checks",
	"team.departures":        "hashes of who left, of a workspace, which parents checks",
}

// TestEveryTableHasAnInvariant fails on a table that was added without one.
func TestEveryTableHasAnInvariant(t *testing.T) {
	t.Parallel()
	s := New(t, Options{WithoutJobs: true})
	var promises strings.Builder
	for _, i := range slices.Concat(invariants, teamInvariants, authInvariants, programInvariants, billingInvariants) {
		promises.WriteString(i.offenders + "\n")
	}
	var tables []string
	if err := pgx.BeginFunc(t.Context(), s.SQL, func(tx pgx.Tx) (err error) {
		tables, err = column(t.Context(), tx, `
			SELECT table_schema || '.' || table_name FROM information_schema.tables
			WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema', 'river', 'manager')`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		told, _ := regexp.MatchString(`\b`+regexp.QuoteMeta(table)+`\b`, promises.String())
		switch reason := promiseless[table]; {
		case !told && reason == "":
			t.Errorf("%s: no invariant tells anything of it, and no reason is given", table)
		case told && reason != "":
			t.Errorf("%s: an invariant tells of it, though it is said: %s", table, reason)
		}
	}
	for table := range promiseless {
		if !slices.Contains(tables, table) {
			t.Errorf("there is no table %s", table)
		}
	}
	if len(tables) < 25 {
		t.Errorf("only %v were found", tables)
	}
}

// world makes something of everything, so that there is something to break, and
// returns what the names in statements stand for.
func (s *Server) world(t *testing.T) *strings.Replacer {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v\n%s", err, s.Log)
		}
	}
	owner, other, mate, gone := s.Register(t), s.Register(t), s.Register(t), s.Register(t)
	w := owner.Workspace.Id
	_, err := owner.Usage.RecordUsage(ctx, &billingv1.RecordUsageRequest{WorkspaceId: w, Event: &billingv1.UsageEvent{EventId: "a", Meter: "api_calls", Quantity: 2}})
	must(err)
	role, err := owner.Roles.CreateRole(ctx, &teamv1.CreateRoleRequest{WorkspaceId: w, Name: "Host", Permissions: []string{"invitation.create", "membership.get"}})
	must(err)
	_, err = owner.Tokens.CreateRefreshToken(ctx, &authv1.CreateRefreshTokenRequest{WorkspaceId: w})
	must(err)
	join := func(p *Person, role string) *teamv1.Membership {
		t.Helper()
		inv, err := owner.Invitations.CreateInvitation(ctx, &teamv1.CreateInvitationRequest{WorkspaceId: w, Email: p.Email, Role: role})
		must(err)
		accepted, err := p.Invitations.AcceptInvitation(ctx, &teamv1.AcceptInvitationRequest{InvitationId: inv.Invitation.Id})
		must(err)
		return accepted.Membership
	}
	host := join(mate, "admin")
	_, err = owner.Memberships.UpdateMembership(ctx, &teamv1.UpdateMembershipRequest{WorkspaceId: w, MembershipId: host.Id, Role: role.Role.Id})
	must(err)
	_, err = mate.Invitations.CreateInvitation(ctx, &teamv1.CreateInvitationRequest{WorkspaceId: w, Email: NewEmail(), Role: role.Role.Id})
	must(err)
	_, err = mate.Invitations.CreateInvitationLink(ctx, &teamv1.CreateInvitationLinkRequest{WorkspaceId: w, Role: role.Role.Id, MaxUses: 2})
	must(err)
	must(s.programs(ctx, w, owner, mate))
	_, err = owner.Memberships.DeactivateMembership(ctx, &teamv1.DeactivateMembershipRequest{WorkspaceId: w, MembershipId: join(other, "viewer").Id})
	must(err)
	_, err = owner.Memberships.RemoveMembership(ctx, &teamv1.RemoveMembershipRequest{WorkspaceId: w, MembershipId: join(gone, "member").Id})
	must(err)
	email := NewEmail()
	_, err = owner.Invitations.CreateInvitation(ctx, &teamv1.CreateInvitationRequest{WorkspaceId: w, Email: email})
	must(err)
	invited, err := s.Client("").Invitations.RegisterWithInvitation(ctx, &teamv1.RegisterWithInvitationRequest{Token: TokenIn(t, s.Mail(t, email, 1)), Password: Password})
	must(err)
	_, err = owner.Users.RequestEmailChange(ctx, &identityv1.RequestEmailChangeRequest{NewEmail: NewEmail()})
	must(err)
	_, err = owner.Passwords.RequestPasswordReset(ctx, &authv1.RequestPasswordResetRequest{Email: owner.Email})
	must(err)
	s.Join(t, gone, other.Workspace.Id, authz.Member)

	id := func(sql string, args ...any) (found string) {
		t.Helper()
		if err := s.SQL.QueryRow(ctx, sql, args...).Scan(&found); err != nil {
			t.Fatal(err)
		}
		return "'" + found + "'"
	}
	user := func(email string) string {
		return id("SELECT user_id::text FROM identity.emails WHERE address = $1", email)
	}
	of := func(email string) string {
		return id("SELECT workspace_id::text FROM audit.events WHERE action = 'workspace.created' AND actor_user_id = (SELECT user_id FROM identity.emails WHERE address = $1)", email)
	}
	names := strings.NewReplacer(
		"$w", of(owner.Email), "$o", of(other.Email), "$u", user(mate.Email), "$v", user(gone.Email), "$x", user(email),
		"$m", id("SELECT m.id::text FROM team.memberships m JOIN identity.emails e USING (user_id) WHERE e.address = $1 AND m.role LIKE 'rol%'", mate.Email),
	)
	if invited.UserId == "" {
		t.Fatal("nobody registered")
	}
	s.Invoice(t, w)
	for _, sql := range []string{
		"INSERT INTO billing.pending_lines (workspace_id, subscription_id, kind, plan, description, meter, quantity, amount, currency, proration, create_time) SELECT workspace_id, id, 'seats', 'team', 'Team', '', 1, -100, 'EUR', true, now() FROM billing.subscriptions WHERE workspace_id = $w",
		"INSERT INTO team.join_requests (id, workspace_id, user_id, message, state, create_time) VALUES (gen_random_uuid(), $o, $u, '', 'pending', now())",
		"INSERT INTO tenant.domains (id, workspace_id, domain, record_value, create_time) VALUES (gen_random_uuid(), $w, 'example.org', '', now()), (gen_random_uuid(), $o, 'example.org', '', now())",
	} {
		_, err := s.SQL.Exec(ctx, names.Replace(sql))
		must(err)
	}
	return names
}

// programs makes a service account of a workspace, with a key by which it invites
// somebody, and a key of a mate.
func (s *Server) programs(ctx context.Context, workspace string, owner, mate *Person) error {
	account, err := owner.ServiceAccounts.CreateServiceAccount(ctx, &authv1.CreateServiceAccountRequest{WorkspaceId: workspace, DisplayName: "Robot"})
	if err != nil {
		return err
	}
	held := []string{"invitation.create", "membership.get"}
	key, err := owner.APIKeys.CreateApiKey(ctx, &authv1.CreateApiKeyRequest{
		WorkspaceId: workspace, DisplayName: "Robot's", Permissions: held, ServiceAccountId: account.ServiceAccount.Id,
	})
	if err != nil {
		return err
	}
	roles, err := owner.Roles.ListRoles(ctx, &teamv1.ListRolesRequest{WorkspaceId: workspace})
	if err != nil {
		return err
	}
	custom := roles.Roles[len(roles.Roles)-1].Id
	robot := s.Client("", client.WithAPIKey(key.Token))
	if _, err = robot.Invitations.CreateInvitation(ctx, &teamv1.CreateInvitationRequest{WorkspaceId: workspace, Email: NewEmail(), Role: custom}); err != nil {
		return err
	}
	now := s.Clock.Now()
	id := ids.New[ids.APIKey]()
	_, err = s.SQL.Exec(ctx, `
		WITH log AS (
			INSERT INTO audit.events (id, workspace_id, actor_kind, action, target_id, create_time)
			SELECT $1, e.workspace_id, 'system', 'api_key.created', $2, $3 FROM audit.events e WHERE e.target_id = $4)
		INSERT INTO auth.api_keys (id, workspace_id, user_id, creator_id, display_name, permissions, token_hash, hint, create_time, expire_time)
		SELECT $5, e.workspace_id, m.user_id, m.user_id, 'Mine', '{membership.get}', 'x', '', $3, $3
		FROM audit.events e, identity.emails m WHERE e.target_id = $4 AND m.address = $6`,
		ids.New[ids.Event]().UUID(), id.String(), now, key.ApiKey.Id, id.UUID(), mate.Email)
	return err
}

// reporter keeps what a check reports instead of failing the test.
type reporter struct {
	testing.TB
	errors []string
}

func (r *reporter) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}
