package store_test

import (
	"time"

	"github.com/google/uuid"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/auth"
)

// exerciseTokens calls what is about tokens and the keys that sign them. The session
// is stored, and its user a member of the workspace.
func exerciseTokens(e *exercise, m module, s *auth.Session, w ids.Workspace) {
	e.t.Helper()
	line, token := secret.HashOf("test", "line"), secret.HashOf("test", "refresh")
	l := &auth.RefreshToken{
		ID: ids.New[ids.RefreshToken](), SessionID: s.ID, Audience: "api", WorkspaceID: w, LineHash: line[:], Generation: 1, TokenHash: token[:],
		CreateTime: now, ExpireTime: now.Add(time.Hour),
	}
	e.call("InsertRefreshToken", l)
	l.UserID = s.UserID
	e.want(l, "RefreshTokenByLine", line)
	e.want((*auth.RefreshToken)(nil), "RefreshTokenByLine", token)
	e.want(l, "LockRefreshToken", l.ID)
	e.want(1, "CountRefreshTokens", s.ID)
	l.Generation, l.PreviousHash, l.TokenHash, l.RotateTime, l.Successor = 2, token[:], line[:], now, []byte{1}
	e.call("RotateRefreshToken", l)
	e.want(l, "LockRefreshToken", l.ID)
	e.call("ForgetSuccessors", now.Add(time.Second))
	l.Successor = nil
	e.want(l, "LockRefreshToken", l.ID)
	e.want(true, "DeleteRefreshToken", l.ID)
	e.want(false, "DeleteRefreshToken", l.ID)
	e.call("InsertRefreshToken", l)
	e.want(0, "DeleteRefreshTokensOfMember", w, ids.New[ids.User]())
	e.want(1, "DeleteRefreshTokensOfMember", w, s.UserID)
	e.call("InsertRefreshToken", l)
	e.call("DeleteRefreshTokensOfWorkspace", w)
	e.want(0, "CountRefreshTokens", s.ID)
	e.call("InsertRefreshToken", l)
	e.call("DeleteRefreshTokensOfSession", s.ID)
	e.want(0, "CountRefreshTokens", s.ID)

	e.want(s, "LiveSession", s.ID, now)
	e.want(s, "LockLiveSession", s.ID, now)
	e.want((*auth.Session)(nil), "LiveSession", s.ID, s.IdleExpireTime)
	run(e.t, m.admin, "INSERT INTO auth.disablements (user_id, reason, create_time) SELECT user_id, 'test', create_time FROM auth.sessions")
	e.want((*auth.Session)(nil), "LiveSession", s.ID, now)
	run(e.t, m.admin, "DELETE FROM auth.disablements")
	run(e.t, m.admin, "UPDATE auth.sessions SET second_factor_pending = true")
	e.want((*auth.Session)(nil), "LiveSession", s.ID, now)
	run(e.t, m.admin, "UPDATE auth.sessions SET second_factor_pending = false")
	e.call("TouchSession", s.ID, "::1", s.LastUseTime, s.IdleExpireTime)
	e.want(s, "LiveSession", s.ID, now)

	g := &auth.SigningKey{
		ID: ids.FromUUID[ids.SigningKey](uuid.New()), PublicKey: []byte{1}, PrivateKey: []byte{2}, CreateTime: now, ActivateTime: now.Add(time.Hour),
	}
	e.call("LockSigningKeys")
	e.call("InsertSigningKey", g)
	e.want([]auth.SigningKey{*g}, "SigningKeys", now)
	g.ActivateTime, g.RetireTime, g.ExpireTime = now, now, now.Add(time.Minute)
	e.call("UpdateSigningKey", g)
	e.want([]auth.SigningKey{*g}, "SigningKeys", now)
	e.call("DeleteExpiredSigningKeys", now)
	e.want([]auth.SigningKey{*g}, "SigningKeys", now)
	e.call("DeleteExpiredSigningKeys", now.Add(time.Minute))
	e.want([]auth.SigningKey(nil), "SigningKeys", now)
}
