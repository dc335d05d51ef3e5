package auth

import (
	"context"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
)

// ListSecurityEvents implements SecurityService.
func (m *Module) ListSecurityEvents(ctx context.Context, req *authv1.ListSecurityEventsRequest) (*authv1.ListSecurityEventsResponse, error) {
	rows, next, err := m.options.Store.SecurityEvents(ctx, authz.SessionFrom(ctx).User, store.Page{Size: int(req.PageSize), Token: req.PageToken})
	if err != nil {
		return nil, err
	}
	res := &authv1.ListSecurityEventsResponse{NextPageToken: next}
	for i := range rows {
		e := &rows[i]
		res.SecurityEvents = append(res.SecurityEvents, &authv1.SecurityEvent{
			Id:             e.ID.String(),
			Action:         e.Action,
			CreateTime:     convert.Time(e.CreateTime),
			ClientAddress:  e.ClientAddress,
			UserAgent:      e.UserAgent,
			OperatorUserId: e.Operator.String(),
			Reason:         e.Reason,
		})
	}
	return res, nil
}
