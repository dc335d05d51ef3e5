package auth

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/auth"
)

// ofAPIKey reads the ids of a request about one key.
func ofAPIKey(workspace, key string) (w ids.Workspace, k ids.APIKey, err error) {
	if w, err = id("workspace_id", workspace, ids.Parse[ids.Workspace]); err != nil {
		return w, k, err
	}
	k, err = id("api_key_id", key, ids.Parse[ids.APIKey])
	return w, k, err
}

// ofServiceAccount reads the ids of a request about one service account, which may be
// absent.
func ofServiceAccount(workspace, account string) (w ids.Workspace, a ids.ServiceAccount, err error) {
	if w, err = id("workspace_id", workspace, ids.Parse[ids.Workspace]); err != nil {
		return w, a, err
	}
	a, err = id("service_account_id", account, ids.Parse[ids.ServiceAccount])
	return w, a, err
}

// moment reads a time that may be absent. The database keeps microseconds.
func moment(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime().Truncate(time.Microsecond)
}

// CreateApiKey implements ApiKeyService.
func (m *Module) CreateApiKey(ctx context.Context, req *authv1.CreateApiKeyRequest) (*authv1.CreateApiKeyResponse, error) {
	workspace, account, err := ofServiceAccount(req.WorkspaceId, req.ServiceAccountId)
	if err != nil {
		return nil, err
	}
	request, err := convert.RequestID(req.RequestId)
	if err != nil {
		return nil, err
	}
	k, token, err := m.options.Store.CreateAPIKey(ctx, store.NewAPIKey{
		Workspace: workspace, ServiceAccount: account, DisplayName: req.DisplayName, Permissions: req.Permissions,
		ExpireTime: moment(req.ExpireTime), RequestID: request,
	})
	if err != nil {
		return nil, err
	}
	return &authv1.CreateApiKeyResponse{ApiKey: apiKey(k), Token: token}, nil
}

// ListApiKeys implements ApiKeyService.
func (m *Module) ListApiKeys(ctx context.Context, req *authv1.ListApiKeysRequest) (*authv1.ListApiKeysResponse, error) {
	workspace, account, err := ofServiceAccount(req.WorkspaceId, req.ServiceAccountId)
	if err != nil {
		return nil, err
	}
	rows, next, err := m.options.Store.ListAPIKeys(ctx, workspace, account, store.Page{Size: int(req.PageSize), Token: req.PageToken})
	if err != nil {
		return nil, err
	}
	res := &authv1.ListApiKeysResponse{NextPageToken: next}
	for i := range rows {
		res.ApiKeys = append(res.ApiKeys, apiKey(&rows[i]))
	}
	return res, nil
}

// RotateApiKey implements ApiKeyService.
func (m *Module) RotateApiKey(ctx context.Context, req *authv1.RotateApiKeyRequest) (*authv1.RotateApiKeyResponse, error) {
	workspace, key, err := ofAPIKey(req.WorkspaceId, req.ApiKeyId)
	if err != nil {
		return nil, err
	}
	request, err := convert.RequestID(req.RequestId)
	if err != nil {
		return nil, err
	}
	k, token, err := m.options.Store.RotateAPIKey(ctx, store.Rotation{
		Workspace: workspace, Key: key, Overlap: time.Duration(req.OverlapSeconds) * time.Second, ExpireTime: moment(req.ExpireTime),
		RequestID: request,
	})
	if err != nil {
		return nil, err
	}
	return &authv1.RotateApiKeyResponse{ApiKey: apiKey(k), Token: token}, nil
}

// RevokeApiKey implements ApiKeyService.
func (m *Module) RevokeApiKey(ctx context.Context, req *authv1.RevokeApiKeyRequest) (*authv1.RevokeApiKeyResponse, error) {
	workspace, key, err := ofAPIKey(req.WorkspaceId, req.ApiKeyId)
	if err != nil {
		return nil, err
	}
	if err := m.options.Store.RevokeAPIKey(ctx, workspace, key); err != nil {
		return nil, err
	}
	return &authv1.RevokeApiKeyResponse{}, nil
}

// CreateServiceAccount implements ServiceAccountService.
func (m *Module) CreateServiceAccount(ctx context.Context, req *authv1.CreateServiceAccountRequest) (*authv1.CreateServiceAccountResponse, error) {
	workspace, err := id("workspace_id", req.WorkspaceId, ids.Parse[ids.Workspace])
	if err != nil {
		return nil, err
	}
	a, err := m.options.Store.CreateServiceAccount(ctx, workspace, req.DisplayName, req.Description)
	if err != nil {
		return nil, err
	}
	return &authv1.CreateServiceAccountResponse{ServiceAccount: serviceAccount(a)}, nil
}

// ListServiceAccounts implements ServiceAccountService.
func (m *Module) ListServiceAccounts(ctx context.Context, req *authv1.ListServiceAccountsRequest) (*authv1.ListServiceAccountsResponse, error) {
	workspace, err := id("workspace_id", req.WorkspaceId, ids.Parse[ids.Workspace])
	if err != nil {
		return nil, err
	}
	rows, err := m.options.Store.ListServiceAccounts(ctx, workspace)
	if err != nil {
		return nil, err
	}
	res := new(authv1.ListServiceAccountsResponse)
	for i := range rows {
		res.ServiceAccounts = append(res.ServiceAccounts, serviceAccount(&rows[i]))
	}
	return res, nil
}

// UpdateServiceAccount implements ServiceAccountService.
func (m *Module) UpdateServiceAccount(ctx context.Context, req *authv1.UpdateServiceAccountRequest) (*authv1.UpdateServiceAccountResponse, error) {
	workspace, account, err := ofServiceAccount(req.WorkspaceId, req.ServiceAccountId)
	if err != nil {
		return nil, err
	}
	var change store.ServiceAccountChange
	paths := req.UpdateMask.GetPaths()
	asked := func(path string, set bool) bool { return slices.Contains(paths, path) || len(paths) == 0 && set }
	if asked("display_name", req.DisplayName != "") {
		if req.DisplayName == "" {
			return nil, fault.Invalid("display_name", "must have 1 to 100 characters")
		}
		change.Name = &req.DisplayName
	}
	if asked("description", req.Description != "") {
		change.Description = &req.Description
	}
	if change.Name == nil && change.Description == nil {
		return nil, fault.Invalid("update_mask", "names nothing to change")
	}
	a, err := m.options.Store.UpdateServiceAccount(ctx, workspace, account, change)
	if err != nil {
		return nil, err
	}
	return &authv1.UpdateServiceAccountResponse{ServiceAccount: serviceAccount(a)}, nil
}

// DeleteServiceAccount implements ServiceAccountService.
func (m *Module) DeleteServiceAccount(ctx context.Context, req *authv1.DeleteServiceAccountRequest) (*authv1.DeleteServiceAccountResponse, error) {
	workspace, account, err := ofServiceAccount(req.WorkspaceId, req.ServiceAccountId)
	if err != nil {
		return nil, err
	}
	if err := m.options.Store.DeleteServiceAccount(ctx, workspace, account); err != nil {
		return nil, err
	}
	return &authv1.DeleteServiceAccountResponse{}, nil
}

func apiKey(k *auth.APIKey) *authv1.ApiKey {
	return &authv1.ApiKey{
		Id:                 k.ID.String(),
		DisplayName:        k.DisplayName,
		UserId:             k.UserID.String(),
		ServiceAccountId:   k.ServiceAccountID.String(),
		CreatorUserId:      k.CreatorID.String(),
		Permissions:        k.Permissions,
		Hint:               k.Hint,
		CreateTime:         convert.Time(k.CreateTime),
		ExpireTime:         convert.Time(k.ExpireTime),
		LastUseTime:        convert.Time(k.LastUseTime),
		PreviousExpireTime: convert.Time(k.PreviousExpireTime),
	}
}

func serviceAccount(a *auth.ServiceAccount) *authv1.ServiceAccount {
	return &authv1.ServiceAccount{
		Id:            a.ID.String(),
		DisplayName:   a.DisplayName,
		Description:   a.Description,
		CreatorUserId: a.CreatorID.String(),
		CreateTime:    convert.Time(a.CreateTime),
		UpdateTime:    convert.Time(a.UpdateTime),
	}
}
