// Package tenant serves the module tenant: workspaces and their domains.
package tenant

import (
	"context"
	"errors"
	"slices"

	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/server/tenant/dns"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/tenant"
)

// Options are what the module needs.
type Options struct {
	Store *store.Store
	Clock clock.Clock
	// Create limits the workspaces that one user creates.
	Create store.Limit
	// Tell limits how often the members of one workspace are mailed of what somebody
	// makes of it: its deletions, and that it requires a second factor.
	Tell store.Limit
	// Resolver finds the DNS records that prove domains.
	Resolver *dns.Resolver
	// Verify limits how often one workspace asks DNS.
	Verify store.Limit
}

// Module implements WorkspaceService and DomainService.
type Module struct{ options Options }

// New returns the module.
func New(o Options) *Module { return &Module{o} }

func workspaceID(s string) (ids.Workspace, error) {
	id, err := ids.Parse[ids.Workspace](s)
	if err != nil {
		return id, fault.Invalid("workspace_id", err.Error())
	}
	return id, nil
}

// CreateWorkspace implements WorkspaceService.
func (m *Module) CreateWorkspace(ctx context.Context, req *tenantv1.CreateWorkspaceRequest) (*tenantv1.CreateWorkspaceResponse, error) {
	request, err := convert.RequestID(req.RequestId)
	if err != nil {
		return nil, err
	}
	wish := store.NewWorkspace{Creator: authz.SessionFrom(ctx).User, Name: req.Name, Slug: req.Slug, RequestID: request}
	if err := m.options.Store.Throttle.Take(ctx, "create workspace "+wish.Creator.String(), m.options.Create); err != nil {
		return nil, err
	}
	w, membership, err := m.options.Store.CreateWorkspace(ctx, wish)
	if err != nil {
		return nil, err
	}
	return &tenantv1.CreateWorkspaceResponse{Workspace: convert.Workspace(w), Membership: convert.Membership(membership)}, nil
}

// GetWorkspace implements WorkspaceService.
func (m *Module) GetWorkspace(ctx context.Context, req *tenantv1.GetWorkspaceRequest) (*tenantv1.GetWorkspaceResponse, error) {
	id, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	w, err := m.options.Store.Tenant.Workspace(ctx, id)
	if err != nil {
		return nil, err
	}
	return &tenantv1.GetWorkspaceResponse{Workspace: convert.Workspace(w)}, nil
}

// ListWorkspaces implements WorkspaceService.
func (m *Module) ListWorkspaces(ctx context.Context, req *tenantv1.ListWorkspacesRequest) (*tenantv1.ListWorkspacesResponse, error) {
	session := authz.SessionFrom(ctx)
	memberships, next, err := m.options.Store.Team.ListOfUser(ctx, session.User, req.ShowDeleted, m.options.Clock.Now(),
		store.Page{Size: int(req.PageSize), Token: req.PageToken})
	if err != nil {
		return nil, err
	}
	list := make([]ids.Workspace, len(memberships))
	for i := range memberships {
		list[i] = memberships[i].WorkspaceID
	}
	rows, err := m.options.Store.Tenant.Workspaces(ctx, list)
	if err != nil {
		return nil, err
	}
	byID := make(map[ids.Workspace]*tenant.Workspace, len(rows))
	for i := range rows {
		byID[rows[i].ID] = &rows[i]
	}
	res := &tenantv1.ListWorkspacesResponse{NextPageToken: next}
	for i := range memberships {
		if w := byID[memberships[i].WorkspaceID]; w != nil { // not purged between the two reads
			res.Workspaces = append(res.Workspaces, &tenantv1.WorkspaceMembership{
				Workspace: convert.Workspace(w), Role: string(memberships[i].Role),
				SecondFactorMissing: w.SecondFactorRequired && !session.SecondFactorProven,
			})
		}
	}
	return res, nil
}

// UpdateWorkspace implements WorkspaceService.
func (m *Module) UpdateWorkspace(ctx context.Context, req *tenantv1.UpdateWorkspaceRequest) (*tenantv1.UpdateWorkspaceResponse, error) {
	id, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	paths := req.UpdateMask.GetPaths()
	for _, path := range paths {
		if path != "name" && path != "slug" {
			return nil, fault.Invalid("update_mask", "names a field that cannot be changed; name and slug can")
		}
	}
	change := store.WorkspaceChange{}
	if change.Version, err = convert.Version(req.Etag); err != nil {
		return nil, err
	}
	if slices.Contains(paths, "name") || len(paths) == 0 && req.Name != "" {
		if req.Name == "" {
			return nil, fault.Invalid("name", "must have 1 to 100 characters")
		}
		change.Name = &req.Name
	}
	if slices.Contains(paths, "slug") || len(paths) == 0 && req.Slug != "" {
		if req.Slug == "" {
			return nil, fault.Invalid("slug", "must have 2 to 63 characters")
		}
		change.Slug = &req.Slug
	}
	if change.Name == nil && change.Slug == nil {
		return nil, fault.Invalid("update_mask", "names nothing to change")
	}
	w, err := m.options.Store.UpdateWorkspace(ctx, id, change)
	if err != nil {
		return nil, err
	}
	return &tenantv1.UpdateWorkspaceResponse{Workspace: convert.Workspace(w)}, nil
}

// UpdateSecurityPolicy implements WorkspaceService.
func (m *Module) UpdateSecurityPolicy(ctx context.Context, req *tenantv1.UpdateSecurityPolicyRequest) (*tenantv1.UpdateSecurityPolicyResponse, error) {
	id, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	for _, path := range req.UpdateMask.GetPaths() {
		if path != "second_factor_required" {
			return nil, fault.Invalid("update_mask", "names a field that cannot be changed; second_factor_required can")
		}
	}
	if req.SecondFactorRequired == nil && len(req.UpdateMask.GetPaths()) == 0 {
		return nil, fault.Invalid("update_mask", "names nothing to change")
	}
	version, err := convert.Version(req.Etag)
	if err != nil {
		return nil, err
	}
	var w *tenant.Workspace
	update := func() (err error) {
		w, err = m.options.Store.RequireSecondFactor(ctx, id, req.GetSecondFactorRequired(), version)
		return err
	}
	if member, _ := authz.MembershipFrom(ctx); req.GetSecondFactorRequired() && !member.SecondFactorRequired {
		err = m.telling(ctx, id, update)
	} else {
		err = update()
	}
	if err != nil {
		return nil, err
	}
	return &tenantv1.UpdateSecurityPolicyResponse{Workspace: convert.Workspace(w)}, nil
}

// telling does what the members of a workspace are mailed of, and counts it.
//
// Errors: fault RATE_LIMITED.
func (m *Module) telling(ctx context.Context, id ids.Workspace, change func() error) error {
	throttle, key := m.options.Store.Throttle, "tell members of "+id.String()
	if err := throttle.Take(ctx, key, m.options.Tell); err != nil {
		return err
	}
	err := change()
	if err != nil {
		err = errors.Join(err, throttle.Return(ctx, key, m.options.Tell))
	}
	return err
}

// CheckSlugAvailability implements WorkspaceService.
func (m *Module) CheckSlugAvailability(ctx context.Context, req *tenantv1.CheckSlugAvailabilityRequest) (*tenantv1.CheckSlugAvailabilityResponse, error) {
	free, err := m.options.Store.Tenant.SlugFree(ctx, req.Slug)
	if err != nil {
		return nil, err
	}
	res := &tenantv1.CheckSlugAvailabilityResponse{Available: free, Suggestion: req.Slug}
	for !free {
		res.Suggestion = tenant.WithSuffix(req.Slug)
		if free, err = m.options.Store.Tenant.SlugFree(ctx, res.Suggestion); err != nil {
			return nil, err
		}
	}
	return res, nil
}
