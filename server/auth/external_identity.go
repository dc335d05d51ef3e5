package auth

import (
	"context"
	"net/http"
	"strings"

	"connectrpc.com/connect"
	"golang.org/x/oauth2"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/auth/external"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/auth"
)

// ListIdentityProviders implements ExternalIdentityService.
func (m *Module) ListIdentityProviders(context.Context, *authv1.ListIdentityProvidersRequest) (*authv1.ListIdentityProvidersResponse, error) {
	res := &authv1.ListIdentityProvidersResponse{}
	for _, p := range m.options.External.List() {
		res.IdentityProviders = append(res.IdentityProviders, &authv1.IdentityProvider{
			Name: p.Name(), DisplayName: p.DisplayName(), CanReauthenticate: p.Reauthenticates(),
		})
	}
	return res, nil
}

// StartExternalSignIn implements ExternalIdentityService.
func (m *Module) StartExternalSignIn(ctx context.Context, req *authv1.StartExternalSignInRequest) (*authv1.StartExternalSignInResponse, error) {
	p := m.options.External.Find(req.Provider)
	if p == nil {
		return nil, fault.New(fault.FailedPrecondition, fault.ProviderUnknown, "provider: the server has none of that name").WithField("provider")
	}
	returnURL, err := m.options.ReturnURLs.Resolve(req.ReturnUrl)
	if err != nil {
		return nil, err
	}
	purpose, session, err := externalPurpose(ctx, req.Purpose, p)
	if err != nil {
		return nil, err
	}
	in := store.ExternalStart{
		Provider: p.Name(), Purpose: purpose, Session: session, Transport: transport(req.SessionTransport),
		State: store.NewExternalState(), Binding: store.NewExternalBinding(), ReturnURL: returnURL,
		Secrets: store.ExternalSecrets{Nonce: oauth2.GenerateVerifier(), Verifier: oauth2.GenerateVerifier()}, // 256 random bits each
	}
	url, err := p.AuthorizationURL(ctx, external.Request{
		State: in.State, Nonce: in.Secrets.Nonce, Verifier: in.Secrets.Verifier, Reauthenticate: purpose == auth.ExternalToReauthenticate,
	})
	if err != nil {
		return nil, fault.New(fault.Unavailable, fault.ProviderFailed, "the identity provider does not answer as it should; try again later").WithCause(err)
	}
	row, err := m.options.Store.StartExternalSignIn(ctx, in)
	if err != nil {
		return nil, err
	}
	res := &authv1.StartExternalSignInResponse{
		ExternalSignInId: row.ID.String(), AuthorizationUrl: url, BindingToken: in.Binding, ExpireTime: convert.Time(row.ExpireTime),
	}
	if in.Transport == authz.Cookie {
		res.BindingToken = ""
		bindBrowser(ctx, in.Binding)
	}
	return res, nil
}

// externalPurpose returns what an external sign-in is for, and the session that it
// concerns.
//
// Errors: fault SESSION_REQUIRED, IMPERSONATION_NOT_ALLOWED, REAUTHENTICATION_REQUIRED,
// EMAIL_UNVERIFIED, PROVIDER_FAILED.
func externalPurpose(ctx context.Context, asked authv1.ExternalSignInPurpose, p *external.Provider) (auth.ExternalPurpose, ids.Session, error) {
	purpose := auth.ExternalToSignIn
	switch asked {
	case authv1.ExternalSignInPurpose_EXTERNAL_SIGN_IN_PURPOSE_LINK:
		purpose = auth.ExternalToLink
	case authv1.ExternalSignInPurpose_EXTERNAL_SIGN_IN_PURPOSE_REAUTHENTICATE:
		purpose = auth.ExternalToReauthenticate
	default:
		return purpose, ids.Session{}, nil
	}
	caller := authz.SessionFrom(ctx)
	switch {
	case caller == nil:
		return "", ids.Session{}, fault.New(fault.Unauthenticated, fault.SessionRequired, "sign in first")
	case !caller.Impersonator.IsZero():
		return "", ids.Session{}, errImpersonation()
	case purpose == auth.ExternalToReauthenticate && !p.Reauthenticates():
		return "", ids.Session{}, fault.New(fault.FailedPrecondition, fault.ProviderFailed,
			"the identity provider cannot be asked to let you prove anew who you are; do so another way")
	case purpose == auth.ExternalToLink && !caller.Recent:
		return "", ids.Session{}, fault.New(fault.FailedPrecondition, fault.ReauthenticationRequired,
			"sign in again or call Reauthenticate, then repeat the call")
	case purpose == auth.ExternalToLink && !caller.EmailVerified:
		return "", ids.Session{}, fault.New(fault.FailedPrecondition, fault.EmailUnverified, "your address is not proven yet; verify it first")
	}
	return purpose, caller.ID, nil
}

// externalCookie is the name of the cookie that binds external sign-ins to a browser.
// Only calls of the server's own site send it.
const externalCookie = "__Host-manager_external"

// maxBindings is how many external sign-ins of one browser can be under way at once, in
// tabs of their own: the cookie holds their bindings, the newest first.
const maxBindings = 4

// bindBrowser adds a binding to those of the browser that calls.
func bindBrowser(ctx context.Context, binding string) {
	info, ok := connect.CallInfoForHandlerContext(ctx)
	if !ok {
		return
	}
	bindings := append([]string{binding}, browserBindings(ctx)...)
	cookie := &http.Cookie{
		Name: externalCookie, Value: strings.Join(bindings[:min(len(bindings), maxBindings)], "."), Path: "/",
		MaxAge: int(store.ExternalSignInLifetime.Seconds()), HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode,
	}
	info.ResponseHeader().Add("Set-Cookie", cookie.String())
}

// browserBindings returns the bindings of the browser that calls.
func browserBindings(ctx context.Context) []string {
	info, ok := connect.CallInfoForHandlerContext(ctx)
	if !ok {
		return nil
	}
	r := http.Request{Header: info.RequestHeader()}
	cookie, err := r.Cookie(externalCookie)
	if err != nil {
		return nil
	}
	var list []string
	for b := range strings.SplitSeq(cookie.Value, ".") {
		if len(list) < maxBindings && store.IsExternalBinding(b) {
			list = append(list, b)
		}
	}
	return list
}

// CompleteExternalSignIn implements ExternalIdentityService.
func (m *Module) CompleteExternalSignIn(ctx context.Context, req *authv1.CompleteExternalSignInRequest) (*authv1.CompleteExternalSignInResponse, error) {
	signIn, err := ids.Parse[ids.ExternalSignIn](req.ExternalSignInId)
	if err != nil {
		return nil, fault.Invalid("external_sign_in_id", err.Error())
	}
	out, err := m.options.Store.CompleteExternalSignIn(ctx, store.ExternalCompletion{
		ID: signIn, ResultToken: req.ResultToken, Token: req.BindingToken, Cookies: browserBindings(ctx),
		WorkspaceName: req.WorkspaceName, DisplayName: req.DisplayName, Client: client(ctx),
	})
	if err != nil {
		return nil, err
	}
	res := &authv1.CompleteExternalSignInResponse{Account: account(ctx, out.Account), ExternalIdentity: externalIdentity(out.Identity)}
	if out.Setup != nil {
		name := out.Setup.Name
		if name == "" {
			name = out.Setup.Email.LocalPart()
		}
		res.Setup = &authv1.ExternalSetup{
			Email: out.Setup.Email.Display, SuggestedDisplayName: out.Setup.Name, SuggestedWorkspaceName: workspaceOf(name),
		}
	}
	if out.Session == nil {
		return res, nil
	}
	// What the account needs is what its session is found with.
	found, err := m.options.Store.Authenticate(ctx, out.Token, out.Session.Transport)
	if err != nil {
		return nil, err
	}
	res.Session, res.SessionToken, res.Requirements = convert.Session(out.Session, true), issue(ctx, out.Session, out.Token), requirements(found)
	return res, nil
}

// workspaceOf suggests what the workspace of somebody could be called.
func workspaceOf(name string) string {
	const ending, most = "'s workspace", 100
	if runes := []rune(name); len(runes) > most-len(ending) {
		name = strings.TrimSpace(string(runes[:most-len(ending)]))
	}
	return name + ending
}

// ListExternalIdentities implements ExternalIdentityService.
func (m *Module) ListExternalIdentities(ctx context.Context, _ *authv1.ListExternalIdentitiesRequest) (*authv1.ListExternalIdentitiesResponse, error) {
	rows, err := m.options.Store.Auth.ExternalIdentities(ctx, authz.SessionFrom(ctx).User)
	if err != nil {
		return nil, err
	}
	res := &authv1.ListExternalIdentitiesResponse{}
	for i := range rows {
		res.ExternalIdentities = append(res.ExternalIdentities, externalIdentity(&rows[i]))
	}
	return res, nil
}

// DeleteExternalIdentity implements ExternalIdentityService.
func (m *Module) DeleteExternalIdentity(ctx context.Context, req *authv1.DeleteExternalIdentityRequest) (*authv1.DeleteExternalIdentityResponse, error) {
	linked, err := ids.Parse[ids.ExternalIdentity](req.ExternalIdentityId)
	if err != nil {
		return nil, fault.Invalid("external_identity_id", err.Error())
	}
	if err := m.options.Store.DeleteExternalIdentity(ctx, authz.SessionFrom(ctx), linked); err != nil {
		return nil, err
	}
	return &authv1.DeleteExternalIdentityResponse{}, nil
}

func externalIdentity(x *auth.ExternalIdentity) *authv1.ExternalIdentity {
	if x == nil {
		return nil
	}
	return &authv1.ExternalIdentity{
		Id: x.ID.String(), Provider: x.Provider, Issuer: x.Issuer, Subject: x.Subject, Email: x.Email,
		CreateTime: convert.Time(x.CreateTime), LastUseTime: convert.Time(x.LastUseTime),
	}
}
