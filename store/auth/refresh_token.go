package auth

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
)

// RefreshToken is a line of refresh tokens: the one that can be used now, and the
// one before it.
type RefreshToken struct {
	bun.BaseModel `bun:"table:auth.refresh_tokens,alias:l"`

	ID          ids.RefreshToken `bun:"id,pk"`
	SessionID   ids.Session
	Audience    string
	WorkspaceID ids.Workspace // zero for none
	LineHash    []byte
	Generation  int
	TokenHash   []byte
	// PreviousHash is of the token before, which was used at RotateTime, and
	// Successor the present token, sealed; nil for none.
	PreviousHash []byte
	RotateTime   time.Time `bun:",nullzero"`
	Successor    []byte
	CreateTime   time.Time
	ExpireTime   time.Time

	// UserID is the session's: read with the line.
	UserID ids.User `bun:",scanonly"`
}

// InsertRefreshToken stores a new line.
func (r Repository) InsertRefreshToken(ctx context.Context, l *RefreshToken) error {
	_, err := r.db.NewInsert().Model(l).Exec(ctx)
	return err
}

// RefreshTokenByLine returns the line of a token, or nil.
func (r Repository) RefreshTokenByLine(ctx context.Context, line secret.Hash) (*RefreshToken, error) {
	return r.refreshToken(ctx, "", "l.line_hash = ?", line[:])
}

// LockRefreshToken returns a line that is still there, or nil, and keeps others
// from using it until the transaction ends.
func (r Repository) LockRefreshToken(ctx context.Context, id ids.RefreshToken) (*RefreshToken, error) {
	return r.refreshToken(ctx, "UPDATE OF l", "l.id = ?", id)
}

func (r Repository) refreshToken(ctx context.Context, lock, where string, args ...any) (*RefreshToken, error) {
	l := new(RefreshToken)
	q := r.db.NewSelect().Model(l).ColumnExpr("l.*, s.user_id").Join("JOIN auth.sessions s ON s.id = l.session_id").Where(where, args...)
	if lock != "" {
		q = q.For(lock)
	}
	return postgres.OrNil(l, q.Scan(ctx))
}

// RotateRefreshToken stores the next token of a line.
func (r Repository) RotateRefreshToken(ctx context.Context, l *RefreshToken) error {
	_, err := r.db.NewUpdate().Model(l).
		Column("generation", "token_hash", "previous_hash", "rotate_time", "successor").WherePK().Exec(ctx)
	return err
}

// CountRefreshTokens returns how many lines a session has.
func (r Repository) CountRefreshTokens(ctx context.Context, session ids.Session) (int, error) {
	n, err := r.db.NewSelect().Model((*RefreshToken)(nil)).Where("session_id = ?", session).Count(ctx)
	return int(n), err
}

// DeleteRefreshToken ends a line, and reports whether there was one.
func (r Repository) DeleteRefreshToken(ctx context.Context, id ids.RefreshToken) (bool, error) {
	result, err := r.db.NewDelete().Model((*RefreshToken)(nil)).Where("id = ?", id).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// DeleteRefreshTokensOfSession ends the lines of a session.
func (r Repository) DeleteRefreshTokensOfSession(ctx context.Context, session ids.Session) error {
	_, err := r.db.NewDelete().Model((*RefreshToken)(nil)).Where("session_id = ?", session).Exec(ctx)
	return err
}

// DeleteRefreshTokensOfMember ends the lines that a user has for a workspace, and
// returns how many.
func (r Repository) DeleteRefreshTokensOfMember(ctx context.Context, workspace ids.Workspace, user ids.User) (int, error) {
	result, err := r.db.NewRaw(`
		DELETE FROM auth.refresh_tokens l USING auth.sessions s
		WHERE l.session_id = s.id AND s.user_id = ? AND l.workspace_id = ?`, user, workspace).Exec(ctx)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// DeleteRefreshTokensOfWorkspace ends all lines for a workspace.
func (r Repository) DeleteRefreshTokensOfWorkspace(ctx context.Context, workspace ids.Workspace) error {
	_, err := r.db.NewDelete().Model((*RefreshToken)(nil)).Where("workspace_id = ?", workspace).Exec(ctx)
	return err
}

// ForgetSuccessors removes the sealed successors of tokens that were used before a
// time: nobody can ask for them again.
func (r Repository) ForgetSuccessors(ctx context.Context, before time.Time) error {
	_, err := r.db.NewRaw("UPDATE auth.refresh_tokens SET successor = NULL WHERE successor IS NOT NULL AND rotate_time < ?", before).Exec(ctx)
	return err
}

// LiveSession returns a session of an account that is not disabled, if it is live
// and owes no second factor, or nil.
func (r Repository) LiveSession(ctx context.Context, id ids.Session, now time.Time) (*Session, error) {
	return r.liveSession(ctx, id, now, "")
}

// LockLiveSession is LiveSession, and keeps others from changing the session until
// the transaction ends.
func (r Repository) LockLiveSession(ctx context.Context, id ids.Session, now time.Time) (*Session, error) {
	return r.liveSession(ctx, id, now, "NO KEY UPDATE")
}

func (r Repository) liveSession(ctx context.Context, id ids.Session, now time.Time, lock string) (*Session, error) {
	s := new(Session)
	q := r.db.NewSelect().Model(s).Where("s.id = ? AND s.idle_expire_time > ? AND NOT s.second_factor_pending", id, now).
		Where("NOT EXISTS (SELECT FROM auth.disablements d WHERE d.user_id = s.user_id)")
	if lock != "" {
		q = q.For(lock)
	}
	return postgres.OrNil(s, q.Scan(ctx))
}

// TouchSession records that a locked session was used.
func (r Repository) TouchSession(ctx context.Context, id ids.Session, address string, now, idleExpire time.Time) error {
	_, err := r.db.NewRaw(`
		UPDATE auth.sessions SET last_use_time = ?, idle_expire_time = least(?, expire_time), client_address = ? WHERE id = ?`,
		now, idleExpire, address, id).Exec(ctx)
	return err
}
