package team

import (
	"context"
	"unicode/utf8"

	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/team"
)

// What those do who are invited.

// GetInvitationByToken implements InvitationService.
func (m *Module) GetInvitationByToken(ctx context.Context, req *teamv1.GetInvitationByTokenRequest) (*teamv1.GetInvitationByTokenResponse, error) {
	if store.IsLinkToken(req.Token) {
		return m.linkByToken(ctx, req.Token)
	}
	row, err := m.options.Store.ReceivedInvitation(ctx, req.Token)
	if err != nil {
		return nil, err
	}
	res := &teamv1.GetInvitationByTokenResponse{Invitation: m.received(row), MaskedEmail: mask(row.Address)}
	res.NextStep, err = m.invitationStep(ctx, row)
	return res, err
}

func (m *Module) invitationStep(ctx context.Context, row *team.Received) (teamv1.InvitationStep, error) {
	switch row.StateAt(m.options.Clock.Now()) {
	case team.Pending:
	case team.Expired, team.Revoked:
		return teamv1.InvitationStep_INVITATION_STEP_REQUEST_RENEWAL, nil
	default:
		return teamv1.InvitationStep_INVITATION_STEP_NONE, nil
	}
	if authz.SessionFrom(ctx) != nil {
		return m.acceptStep(ctx, func(addressKey string) bool { return addressKey == row.AddressKey })
	}
	address, err := m.options.Store.Identity.Address(ctx, row.AddressKey)
	if err != nil {
		return 0, err
	}
	if address != nil && address.Verified() {
		return teamv1.InvitationStep_INVITATION_STEP_SIGN_IN, nil
	}
	return teamv1.InvitationStep_INVITATION_STEP_REGISTER, nil
}

// acceptStep tells whether the session that the call came with can accept.
func (m *Module) acceptStep(ctx context.Context, fits func(addressKey string) bool) (teamv1.InvitationStep, error) {
	user, err := m.options.Store.Identity.User(ctx, authz.SessionFrom(ctx).User)
	if err != nil {
		return 0, err
	}
	if user.Email != nil && user.Email.Verified() && fits(user.Email.AddressKey) {
		return teamv1.InvitationStep_INVITATION_STEP_ACCEPT, nil
	}
	return teamv1.InvitationStep_INVITATION_STEP_SWITCH_ACCOUNT, nil
}

func (m *Module) linkByToken(ctx context.Context, token string) (*teamv1.GetInvitationByTokenResponse, error) {
	row, err := m.options.Store.ReceivedLink(ctx, token)
	if err != nil {
		return nil, err
	}
	res := &teamv1.GetInvitationByTokenResponse{Invitation: m.receivedLink(row), Domains: row.Domains}
	switch {
	case row.StateAt(m.options.Clock.Now()) != team.Pending:
		res.NextStep = teamv1.InvitationStep_INVITATION_STEP_NONE
	case authz.SessionFrom(ctx) == nil:
		res.NextStep = teamv1.InvitationStep_INVITATION_STEP_SIGN_IN
	default:
		res.NextStep, err = m.acceptStep(ctx, row.Fits)
	}
	return res, err
}

// mask hides most of an address.
func mask(address string) string {
	a, err := email.Parse(address)
	if err != nil {
		return "***"
	}
	_, size := utf8.DecodeRuneInString(address)
	return address[:size] + "***" + address[len(a.LocalPart()):]
}

// AcceptInvitation implements InvitationService.
func (m *Module) AcceptInvitation(ctx context.Context, req *teamv1.AcceptInvitationRequest) (*teamv1.AcceptInvitationResponse, error) {
	id, err := optionalInvitation(req.InvitationId)
	if err != nil {
		return nil, err
	}
	row, err := m.options.Store.AcceptInvitation(ctx, req.Token, id)
	if err != nil {
		return nil, err
	}
	return &teamv1.AcceptInvitationResponse{Membership: convert.Membership(row)}, nil
}

func optionalInvitation(s string) (ids.Invitation, error) {
	if s == "" {
		return ids.Invitation{}, nil
	}
	return parse("invitation_id", s, ids.Parse[ids.Invitation])
}

// DeclineInvitation implements InvitationService.
func (m *Module) DeclineInvitation(ctx context.Context, req *teamv1.DeclineInvitationRequest) (*teamv1.DeclineInvitationResponse, error) {
	if store.IsLinkToken(req.Token) {
		return nil, fault.Invalid("token", "is of a link, which is not for one person alone")
	}
	id, err := optionalInvitation(req.InvitationId)
	if err != nil {
		return nil, err
	}
	if err := m.options.Store.DeclineInvitation(ctx, req.Token, id); err != nil {
		return nil, err
	}
	return &teamv1.DeclineInvitationResponse{}, nil
}

// RequestInvitationRenewal implements InvitationService.
func (m *Module) RequestInvitationRenewal(ctx context.Context, req *teamv1.RequestInvitationRenewalRequest) (*teamv1.RequestInvitationRenewalResponse, error) {
	workspace, err := m.options.Store.RenewalDue(ctx, req.Token)
	if err != nil {
		return nil, err
	}
	if !workspace.IsZero() {
		if err := m.options.Store.Throttle.Take(ctx, "renewals of "+workspace.String(), m.options.Requests); err != nil {
			return nil, err
		}
	}
	if err := m.options.Store.RequestRenewal(ctx, req.Token); err != nil {
		return nil, err
	}
	return &teamv1.RequestInvitationRenewalResponse{}, nil
}

// ListReceivedInvitations implements InvitationService.
func (m *Module) ListReceivedInvitations(ctx context.Context, req *teamv1.ListReceivedInvitationsRequest) (*teamv1.ListReceivedInvitationsResponse, error) {
	rows, next, err := m.options.Store.ListReceivedInvitations(ctx, authz.SessionFrom(ctx).User, page(req.PageSize, req.PageToken))
	if err != nil {
		return nil, err
	}
	res := &teamv1.ListReceivedInvitationsResponse{NextPageToken: next}
	for i := range rows {
		res.Invitations = append(res.Invitations, m.received(&rows[i]))
	}
	return res, nil
}

// RegisterWithInvitation implements InvitationService.
func (m *Module) RegisterWithInvitation(ctx context.Context, req *teamv1.RegisterWithInvitationRequest) (*teamv1.RegisterWithInvitationResponse, error) {
	wish := store.InvitedRegistration{
		Proof: store.Proof{Token: req.Token, Code: req.Code}, DisplayName: req.DisplayName,
		Transport: authz.Bearer, Client: authz.ClientFrom(ctx),
	}
	if req.SessionCookie {
		wish.Transport = authz.Cookie
	}
	var err error
	if req.Email != "" {
		if wish.Given, err = parse("email", req.Email, email.Parse); err != nil {
			return nil, err
		}
	}
	if wish.RequestID, err = convert.RequestID(req.RequestId); err != nil {
		return nil, err
	}
	if !wish.RequestID.Valid {
		return m.register(ctx, wish, req.Password)
	}
	if res, err := m.repeat(ctx, wish, req.Password); res != nil || err != nil {
		return res, err
	}
	res, refusal := m.register(ctx, wish, req.Password)
	if refusal != nil { // perhaps because the same call was made at the same time
		if res, err := m.repeat(ctx, wish, req.Password); res != nil || err != nil {
			return res, err
		}
	}
	return res, refusal
}

// register makes the account of somebody who was invited, or begins to.
func (m *Module) register(ctx context.Context, wish store.InvitedRegistration, given string) (*teamv1.RegisterWithInvitationResponse, error) {
	var err error
	if wish.Proof.Code != "" {
		if err := m.options.Store.Throttle.Take(ctx, "invitation code "+wish.Given.Key, m.options.Codes); err != nil {
			return nil, err
		}
	}
	if wish.Welcome, err = m.options.Store.Welcome(ctx, wish.Proof, wish.Given); err != nil {
		return nil, err
	}
	if wish.Welcome.Link != nil {
		if err := m.options.LimitMail(ctx, wish.Welcome.Email); err != nil {
			return nil, err
		}
	}
	words, err := m.options.Store.Words(ctx, wish.Welcome)
	if err != nil {
		return nil, err
	}
	if err := m.options.Passwords.JudgePassword(ctx, "password", given, append(words, wish.DisplayName)...); err != nil {
		return nil, err
	}
	if wish.PasswordHash, err = m.options.Passwords.HashPassword(ctx, given); err != nil {
		return nil, err
	}
	reg, account, err := m.options.Store.RegisterWithInvitation(ctx, wish)
	if err != nil {
		return nil, err
	}
	return m.registered(ctx, reg.ID, account), nil
}

// repeat answers a request whose id an earlier one had; nil when there is none.
func (m *Module) repeat(ctx context.Context, wish store.InvitedRegistration, given string) (*teamv1.RegisterWithInvitationResponse, error) {
	earlier, err := m.options.Store.Auth.RegistrationOf(ctx, wish.RequestID.UUID)
	if err != nil || earlier == nil {
		return nil, err
	}
	if !wish.Repeats(earlier) {
		return nil, store.ErrRequestIDReused()
	}
	err = m.options.Passwords.CheckPassword(ctx, earlier.ID.String(), given, earlier.PasswordHash)
	if fault.Has(err, fault.CredentialsInvalid) {
		return nil, store.ErrRequestIDReused()
	}
	if err != nil {
		return nil, err
	}
	account, err := m.options.Store.RepeatRegistration(ctx, earlier, wish.Transport, wish.Client)
	if err != nil {
		return nil, err
	}
	return m.registered(ctx, earlier.ID, account), nil
}

func (m *Module) registered(ctx context.Context, id ids.Registration, a *store.Account) *teamv1.RegisterWithInvitationResponse {
	if a == nil {
		return &teamv1.RegisterWithInvitationResponse{RegistrationId: id.String()}
	}
	return &teamv1.RegisterWithInvitationResponse{
		Membership: convert.Membership(a.Membership), UserId: a.User.ID.String(),
		SessionId: a.Session.ID.String(), SessionToken: m.options.IssueSession(ctx, a),
	}
}
