package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/team"
	"github.com/logicspike/manager/store/tenant"
)

// Welcome is what a token or a code opens to somebody who has no account: an
// invitation, or a link.
type Welcome struct {
	Email      email.Address // of the account to be
	Invitation *team.Invitation
	Link       *team.Link
}

// Welcome returns what the proof opens. With a code, or for a link, the address is
// given; with the token of an invitation it may be zero.
//
// Errors: fault CODE_INVALID, INVITATION_EXPIRED, INVITATION_REVOKED,
// INVITATION_USED; EMAIL_MISMATCH; FIELD_INVALID when a link comes without an address.
// A wrong code is counted against the invitations of the address.
func (s *Store) Welcome(ctx context.Context, proof Proof, given email.Address) (w Welcome, err error) {
	var refusal error
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		refusal = nil
		switch {
		case proof.Code != "":
			w, refusal, err = t.welcomeByCode(ctx, proof, given)
		case IsLinkToken(proof.Token):
			w, err = t.welcomeByLink(ctx, proof, given)
		default:
			w, err = t.welcomeByToken(ctx, proof, given)
		}
		return err
	})
	if err == nil {
		err = refusal
	}
	return w, err
}

func (t *tx) welcomeByToken(ctx context.Context, proof Proof, given email.Address) (Welcome, error) {
	inv, err := t.team.InvitationByToken(ctx, proof.tokenHash(forInvitation))
	if err != nil || inv == nil {
		return Welcome{}, orCode(err)
	}
	if state := inv.StateAt(t.now); state != team.Pending {
		return Welcome{}, errEnded(state)
	}
	if given.Key != "" && given.Key != inv.AddressKey {
		return Welcome{}, fault.New(fault.FailedPrecondition, fault.EmailMismatch, "the invitation is for another address").WithField("email")
	}
	return Welcome{Email: inv.Email(), Invitation: inv}, nil
}

func (t *tx) welcomeByLink(ctx context.Context, proof Proof, given email.Address) (Welcome, error) {
	l, err := t.team.LinkByToken(ctx, proof.tokenHash(forLink))
	if err != nil || l == nil {
		return Welcome{}, orCode(err)
	}
	if state := l.StateAt(t.now); state != team.Pending {
		return Welcome{}, errEnded(state)
	}
	if given.Key == "" {
		return Welcome{}, fault.Invalid("email", "is required with a link")
	}
	return Welcome{Email: given, Link: l}, linkFits(l, given.Key)
}

// InvitationCodeLifetime is how long the code of an invitation can be used since it
// was mailed. The link can be used as long as the invitation.
const InvitationCodeLifetime = 24 * time.Hour

// maxCodesTried is how many invitations of an address, the newest, a code is compared
// with: each of them makes a guess more likely to be right.
const maxCodesTried = 3

// welcomeByCode compares the code with those of the newest invitations of the address,
// and counts a wrong one against each. A code that was tried too often is like a wrong
// one.
func (t *tx) welcomeByCode(ctx context.Context, proof Proof, given email.Address) (w Welcome, refusal, err error) {
	pending, err := t.team.LockPendingAt(ctx, given.Key, t.now, maxCodesTried)
	if err != nil {
		return Welcome{}, nil, err
	}
	var tried []ids.Invitation
	for i := range pending {
		inv := &pending[i]
		if inv.CodeAttempts >= team.MaxAttempts || t.now.Sub(inv.SendTime) >= InvitationCodeLifetime {
			continue
		}
		if proof.proves(forInvitation, inv.CodeHash, inv.TokenHash) {
			return Welcome{Email: inv.Email(), Invitation: inv}, nil, nil
		}
		tried = append(tried, inv.ID)
	}
	return Welcome{}, errCode(), t.team.CountInvitationAttempts(ctx, tried) // and commit
}

// InvitedRegistration is a wish for an account of somebody who was invited.
type InvitedRegistration struct {
	Welcome      Welcome
	Proof        Proof
	Given        email.Address // the address of the request, which may be zero
	DisplayName  string        // default: the address up to its @
	PasswordHash string
	// RequestID makes the wish safe to repeat, if it is set.
	RequestID uuid.NullUUID
	Transport authz.Transport
	Client    authz.Client
}

// digest is what must be the same when the request id is.
func (r InvitedRegistration) digest() []byte {
	data, _ := json.Marshal([]string{"invited", r.Given.Key, r.DisplayName, r.Proof.Token, r.Proof.Code})
	sum := sha256.Sum256(data)
	return sum[:]
}

// Repeats reports whether r is the wish that was stored as reg, apart from the
// password.
func (r InvitedRegistration) Repeats(reg *auth.Registration) bool {
	return subtle.ConstantTimeCompare(r.digest(), reg.RequestDigest) == 1
}

// RegisterWithInvitation creates the account of somebody who was invited: user,
// credential, membership and session, in one transaction. The invitation has proven
// the address. For a link it stores the wish, and mails a code, as Register does, and
// returns no account.
//
// Errors: fault EMAIL_TAKEN, SEATS_EXHAUSTED; CODE_INVALID, INVITATION_EXPIRED,
// INVITATION_REVOKED, INVITATION_USED; REQUEST_ID_REUSED when another registration has
// the request id.
func (s *Store) RegisterWithInvitation(ctx context.Context, r InvitedRegistration) (reg *auth.Registration, account *Account, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		reg, account = t.newRegistration(r), nil
		if r.Welcome.Link != nil {
			return t.registerByLink(ctx, r, reg)
		}
		account, err = t.registerByInvitation(ctx, r, reg)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return reg, account, nil
}

func (t *tx) newRegistration(r InvitedRegistration) *auth.Registration {
	return &auth.Registration{
		ID: ids.New[ids.Registration](), Address: r.Welcome.Email.Display, AddressKey: r.Welcome.Email.Key,
		DisplayName: cmp.Or(r.DisplayName, r.Welcome.Email.LocalPart()), PasswordHash: r.PasswordHash, RequestID: r.RequestID, RequestDigest: r.digest(),
		CodeCreateTime: t.now, CodeExpireTime: t.now.Add(CodeLifetime), CodeCount: 1,
		CreateTime: t.now, ExpireTime: t.now.Add(registrationLifetime),
	}
}

// registerByLink stores a wish whose address is to be proven first.
func (t *tx) registerByLink(ctx context.Context, r InvitedRegistration, reg *auth.Registration) error {
	l := r.Welcome.Link
	w, err := t.tenant.Workspace(ctx, l.WorkspaceID)
	if err != nil || w.Deleted() {
		return orCode(err)
	}
	code := newMailed(prefixRegistration)
	reg.CodeHash, reg.TokenHash = code.hashes(forRegistration)
	reg.WorkspaceName, reg.InvitationLinkID = w.Name, l.ID
	if inserted, err := t.auth.InsertRegistration(ctx, reg); err != nil || !inserted {
		return orReused(err)
	}
	return t.mail(ctx, registrationMail(reg, code))
}

func (t *tx) registerByInvitation(ctx context.Context, r InvitedRegistration, reg *auth.Registration) (*Account, error) {
	found := r.Welcome.Invitation
	way, err := t.lockWay(ctx, found.WorkspaceID, found.AddressKey)
	if err != nil {
		return nil, err
	}
	workspace := way.locked[found.WorkspaceID]
	if workspace == nil {
		return nil, errCode()
	}
	taken, err := t.lockAddress(ctx, found.AddressKey)
	if err != nil {
		return nil, err
	}
	if taken != nil && taken.Verified() {
		return nil, errTaken()
	}
	inv, err := t.team.LockInvitation(ctx, found.WorkspaceID, found.ID)
	if err != nil || !r.Proof.stillProves(inv.TokenHash, found.TokenHash) {
		return nil, orCode(err)
	}
	if state := inv.StateAt(t.now); state != team.Pending {
		return nil, errEnded(state)
	}
	// A registration of its own, done at once: by it the call can be repeated.
	code := newMailed(prefixRegistration)
	reg.CodeHash, reg.TokenHash = code.hashes(forRegistration)
	reg.WorkspaceName, reg.CodeExpireTime = workspace.Name, t.now
	reg.VerifyTime = t.now
	if inserted, err := t.auth.InsertRegistration(ctx, reg); err != nil || !inserted {
		return nil, orReused(err)
	}
	if err := t.auth.EndRegistrations(ctx, reg.AddressKey, reg.ID); err != nil {
		return nil, err
	}
	var left []*tenant.Workspace
	if taken != nil {
		if left, err = t.voidAccount(ctx, taken.UserID); err != nil {
			return nil, err
		}
	}
	way.invitation, way.workspace = inv, workspace
	account, err := t.createAccount(ctx, reg, t.now, r.Transport, r.Client, way)
	if err != nil {
		return nil, err
	}
	if err := t.hand(ctx, left, account.User); err != nil {
		return nil, err
	}
	return account, t.auth.UpdateRegistration(ctx, reg)
}

// stillProves reports whether what was proven is still there: an invitation that was
// mailed again has another token and code.
func (Proof) stillProves(now, then []byte) bool { return subtle.ConstantTimeCompare(now, then) == 1 }

// way is how a new account comes to workspaces. All that it names is locked.
type way struct {
	locked     map[ids.Workspace]*tenant.Workspace
	enrollment *tenant.Enrollment // by the domain of the address; may be nil
	// At most one of these, and then the account founds no workspace of its own.
	invitation *team.Invitation
	link       *team.Link
	workspace  *tenant.Workspace // that of the invitation or the link

	by authz.Method // what proved who they are; "" for the password of the account
}

// lockWay locks the workspace of an invitation or a link, if there is one, and that
// which the domain of the address enrols in, before any user is locked.
func (t *tx) lockWay(ctx context.Context, invited ids.Workspace, addressKey string) (way, error) {
	var w way
	var err error
	if w.enrollment, err = t.enrollmentAt(ctx, addressKey); err != nil {
		return w, err
	}
	var enrolls ids.Workspace
	if w.enrollment != nil {
		enrolls = w.enrollment.WorkspaceID
	}
	w.locked, err = t.lockAll(ctx, invited, enrolls)
	if w.locked[enrolls] == nil {
		w.enrollment = nil
	}
	return w, err
}

func errTaken() error {
	return fault.New(fault.AlreadyExists, fault.EmailTaken, "the address has an account; sign in and accept the invitation")
}

// orReused returns the fault REQUEST_ID_REUSED in place of nil.
func orReused(err error) error {
	if err == nil {
		return ErrRequestIDReused()
	}
	return err
}
