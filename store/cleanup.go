package store

import (
	"context"
	"errors"
)

// DeleteExpired removes what can no longer be used: ended sessions; registrations,
// resets, changes, challenges, factors that were not confirmed, and counters whose time is over; invitations and requests to join
// that ended a while ago; old usage events. Each kind is a
// transaction of its own, so that one which fails does not keep the others.
func (s *Store) DeleteExpired(ctx context.Context) error {
	var failures []error
	for _, remove := range []func(context.Context, *tx) error{
		func(ctx context.Context, t *tx) error { return t.auth.DeleteExpiredSessions(ctx, t.now) },
		func(ctx context.Context, t *tx) error { return t.auth.DeleteExpiredRegistrations(ctx, t.now) },
		func(ctx context.Context, t *tx) error { return t.auth.DeleteExpiredPasswordResets(ctx, t.now) },
		func(ctx context.Context, t *tx) error { return t.auth.DeleteExpiredThrottles(ctx, t.now) },
		func(ctx context.Context, t *tx) error { return t.auth.DeleteExpiredFailures(ctx, t.now) },
		func(ctx context.Context, t *tx) error { return t.auth.DeleteExpiredExternalSignIns(ctx, t.now) },
		func(ctx context.Context, t *tx) error { return t.auth.DeleteUnusedDevices(ctx, t.now) },
		func(ctx context.Context, t *tx) error { return t.auth.DeleteExpiredChallenges(ctx, t.now) },
		func(ctx context.Context, t *tx) error { return t.auth.DeleteExpiredEmailChallenges(ctx, t.now) },
		func(ctx context.Context, t *tx) error { return t.auth.DeleteExpiredTOTPFactors(ctx, t.now) },
		func(ctx context.Context, t *tx) error { return t.auth.ForgetSuccessors(ctx, t.now.Add(-refreshGrace)) },
		func(ctx context.Context, t *tx) error { return t.identity.DeleteExpired(ctx, t.now) },
		func(ctx context.Context, t *tx) error { return t.billing.DeleteExpiredOverrides(ctx, t.now) },
		func(ctx context.Context, t *tx) error {
			return t.billing.DeleteWebhookEvents(ctx, t.now.Add(-webhookRetention))
		},
		func(ctx context.Context, t *tx) error {
			return t.team.DeleteEndedInvitations(ctx, t.now.Add(-endedRetention))
		},
		func(ctx context.Context, t *tx) error {
			return t.team.DeleteDecidedJoinRequests(ctx, t.now.Add(-endedRetention))
		},
		func(ctx context.Context, t *tx) error {
			return t.auth.DeleteExpiredAPIKeys(ctx, t.now.Add(-keyRetention), t.now)
		},
		func(ctx context.Context, t *tx) error {
			return t.auth.ForgetAPIKeyRequests(ctx, t.now.Add(-keyRequestLifetime))
		},
	} {
		failures = append(failures, s.write(ctx, remove))
	}
	failures = append(failures, s.deleteOldUsage(ctx))
	return errors.Join(failures...)
}
