package auth

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
)

// Session is one signed-in browser or program of a user.
type Session struct {
	bun.BaseModel `bun:"table:auth.sessions,alias:s"`

	ID             ids.Session `bun:"id,pk"`
	UserID         ids.User
	TokenHash      []byte
	Transport      authz.Transport
	CreateTime     time.Time
	AuthTime       time.Time
	LastUseTime    time.Time
	IdleExpireTime time.Time
	ExpireTime     time.Time
	ClientAddress  string
	UserAgent      string
	Methods        []authz.Method `bun:",array"`
	// SecondFactorPending is whether the session still owes its second factor.
	SecondFactorPending bool
	// SecondFactorProven is whether a second factor was proven in the session, and the
	// account still has one.
	SecondFactorProven bool
	// ImpersonatorID is the operator who acts in the user's name; zero for none.
	ImpersonatorID      ids.User
	ImpersonationReason string
	// ImpersonatorSessionID is the operator's own session, with which this one ends;
	// zero for one that was begun on the command line.
	ImpersonatorSessionID ids.Session

	// DeviceToken is what the client is to keep from now on, to be known the next
	// time; "" where it has one, and then KnownDevice. Neither is stored.
	DeviceToken string `bun:"-"`
	KnownDevice bool   `bun:"-"`
}

// InsertSession stores a new session.
func (r Repository) InsertSession(ctx context.Context, s *Session) error {
	_, err := r.db.NewInsert().Model(s).Exec(ctx)
	return err
}

// Renewal is how a session goes on once its user has proven again who they are.
type Renewal struct {
	Token      secret.Hash
	Method     authz.Method
	IdleExpire time.Time
	// Completed is set where a session that owed its second factor owes it no more:
	// it is then when the session ends. A session that owes none is as one that ended.
	Completed time.Time
}

// Renew gives a session a new token, by which its user is known to have proven
// who they are just now.
//
// Errors: fault SESSION_REQUIRED when the session has ended.
func (r Repository) Renew(ctx context.Context, id ids.Session, n Renewal, now time.Time) (*Session, error) {
	s := new(Session)
	err := r.db.NewRaw(`
		UPDATE auth.sessions
		SET token_hash = ?0, auth_time = ?1, last_use_time = ?1,
		    expire_time = CASE WHEN second_factor_pending THEN coalesce(?4, expire_time) ELSE expire_time END,
		    idle_expire_time = least(?2, CASE WHEN second_factor_pending THEN coalesce(?4, expire_time) ELSE expire_time END),
		    second_factor_pending = second_factor_pending AND ?4::timestamptz IS NULL,
		    second_factor_proven = second_factor_proven OR ?6,
		    methods = array_append(array_remove(methods, ?5), ?5)
		WHERE id = ?3 AND (second_factor_pending OR ?4::timestamptz IS NULL) RETURNING *`, n.Token[:], now, n.IdleExpire, id, bun.NullTime{Time: n.Completed}, n.Method,
		n.Method.ProvesSecondFactor()).Scan(ctx, s)
	if postgres.NotFound(err) {
		return nil, fault.New(fault.Unauthenticated, fault.SessionRequired, "the session has ended")
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// ListSessions returns a page of a user's live sessions, the newest first, and
// the next page's token.
//
// Errors: fault PAGE_TOKEN_INVALID.
func (r Repository) ListSessions(ctx context.Context, user ids.User, now time.Time, page postgres.Page) ([]Session, string, error) {
	var rows []Session
	q := r.db.NewSelect().Model(&rows).Where("user_id = ? AND idle_expire_time > ?", user, now)
	next, err := postgres.NewestFirst(ctx, r.pager, q, "id", "sessions of "+user.String(), page, &rows,
		func(s Session) uuid.UUID { return s.ID.UUID() })
	return rows, next, err
}

// CountSessions returns how many live sessions a user has.
func (r Repository) CountSessions(ctx context.Context, user ids.User, now time.Time) (int, error) {
	n, err := r.db.NewSelect().Model((*Session)(nil)).Where("user_id = ? AND idle_expire_time > ?", user, now).Count(ctx)
	return int(n), err
}

// HoldSession reports whether a session of a user is live, and has had no other token
// since its user proved at a time who they are, and keeps it so until the transaction
// ends.
func (r Repository) HoldSession(ctx context.Context, user ids.User, id ids.Session, authTime, now time.Time) (bool, error) {
	result, err := r.db.NewSelect().Model((*Session)(nil)).ColumnExpr("1").
		Where("user_id = ? AND id = ? AND auth_time = ? AND idle_expire_time > ? AND NOT second_factor_pending", user, id, authTime, now).For("KEY SHARE").Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// DeleteSession ends a live session of a user, and reports whether there was one.
func (r Repository) DeleteSession(ctx context.Context, user ids.User, id ids.Session, now time.Time) (bool, error) {
	result, err := r.db.NewDelete().Model((*Session)(nil)).Where("user_id = ? AND id = ? AND idle_expire_time > ?", user, id, now).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// DeleteSessions ends all sessions of a user but one, which may be none, and
// returns how many.
func (r Repository) DeleteSessions(ctx context.Context, user ids.User, but ids.Session) (int, error) {
	result, err := r.db.NewDelete().Model((*Session)(nil)).Where("user_id = ? AND id IS DISTINCT FROM ?", user, but).Exec(ctx)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// ForgetSecondFactor has no session tell any more that a user proved a second factor, who
// has none left: neither their own nor those that they have in the name of others.
func (r Repository) ForgetSecondFactor(ctx context.Context, user ids.User) error {
	_, err := r.db.NewRaw(`
		UPDATE auth.sessions SET second_factor_proven = false
		WHERE second_factor_proven AND (user_id = ?0 AND impersonator_id IS NULL OR impersonator_id = ?0)`, user).Exec(ctx)
	return err
}

// soleSessions are the sessions s of users who belong to one workspace only.
const soleSessions = `
	s.user_id IN (SELECT r.user_id FROM team.roster r WHERE r.workspace_id = ?0
	              AND NOT EXISTS (SELECT 1 FROM team.roster o WHERE o.user_id = r.user_id AND o.workspace_id <> ?0))`

// DeleteSoleSessions ends the sessions, but one, of the users who belong to this
// workspace and to no other.
func (r Repository) DeleteSoleSessions(ctx context.Context, workspace ids.Workspace, but ids.Session) error {
	_, err := r.db.NewRaw("DELETE FROM auth.sessions s WHERE "+soleSessions+" AND s.id IS DISTINCT FROM ?1", workspace, but).Exec(ctx)
	return err
}

// SoleSessions returns how many live sessions the users have who belong to this
// workspace and to no other, and the first of them.
func (r Repository) SoleSessions(ctx context.Context, workspace ids.Workspace, now time.Time, limit int) ([]Session, int, error) {
	var total int
	if err := r.db.NewRaw("SELECT count(*) FROM auth.sessions s WHERE "+soleSessions+" AND s.idle_expire_time > ?1",
		workspace, now).Scan(ctx, &total); err != nil {
		return nil, 0, err
	}
	var rows []Session
	err := r.db.NewRaw("SELECT s.* FROM auth.sessions s WHERE "+soleSessions+" AND s.idle_expire_time > ?1 ORDER BY s.id LIMIT ?2",
		workspace, now, limit).Scan(ctx, &rows)
	return rows, total, err
}

// Sessions finds sessions by their tokens: what every call does. It uses
// prepared statements of pgx, which is several times as fast as a new statement
// for each call.
type Sessions struct {
	pool    *pgxpool.Pool
	lookups *lookups
}

// NewSessions returns the finder.
func NewSessions(pool *pgxpool.Pool) Sessions { return Sessions{pool, newLookups(pool)} }

// Find returns the live session of a token, with what is known of its account,
// or nil.
func (f Sessions) Find(ctx context.Context, token secret.Hash, transport authz.Transport, now time.Time) (*authz.Session, error) {
	found, err := f.lookups.find(ctx, findSession, token, now)
	if err != nil || found == nil {
		return nil, err
	}
	if s := found.(*authz.Session); s.Transport == transport {
		return s, nil
	}
	return nil, nil
}

// Touch records that a session was used.
func (f Sessions) Touch(ctx context.Context, id ids.Session, address string, now, idleExpire time.Time) error {
	_, err := f.pool.Exec(ctx, `
		UPDATE auth.sessions
		SET last_use_time = $2, idle_expire_time = least($3, expire_time), client_address = $4
		WHERE id = $1 AND last_use_time < $2`,
		pgx.QueryExecModeCacheStatement, pgUUID(id.UUID()), now, idleExpire, address)
	return err
}

type pgUUID = [16]byte
