// Package audit serves the module audit: the event log.
package audit

import (
	"context"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/structpb"

	auditv1 "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/audit"
)

// Module implements EventService.
type Module struct{ store *store.Store }

// New returns the module.
func New(s *store.Store) *Module { return &Module{s} }

// ListEvents implements EventService.
func (m *Module) ListEvents(ctx context.Context, req *auditv1.ListEventsRequest) (*auditv1.ListEventsResponse, error) {
	f := audit.Filter{Action: req.Action, OldestFirst: req.Order == auditv1.EventOrder_EVENT_ORDER_OLDEST_FIRST}
	if req.WorkspaceId == "" {
		f.UserID = authz.SessionFrom(ctx).User
	} else {
		var err error
		if f.WorkspaceID, err = ids.Parse[ids.Workspace](req.WorkspaceId); err != nil {
			return nil, fault.Invalid("workspace_id", err.Error())
		}
	}
	if err := parseFilter(req, &f); err != nil {
		return nil, err
	}
	rows, next, err := m.store.Audit.List(ctx, f, store.Page{Size: int(req.PageSize), Token: req.PageToken})
	if err != nil {
		return nil, err
	}
	res := &auditv1.ListEventsResponse{NextPageToken: next}
	for i := range rows {
		e, err := event(&rows[i])
		if err != nil {
			return nil, err
		}
		res.Events = append(res.Events, e)
	}
	return res, nil
}

// parseFilter takes over who and when is asked for.
func parseFilter(req *auditv1.ListEventsRequest, f *audit.Filter) error {
	if user, err := ids.Parse[ids.User](req.ActorId); err == nil {
		f.Actor = uuid.NullUUID{UUID: user.UUID(), Valid: true}
	} else if account, err := ids.Parse[ids.ServiceAccount](req.ActorId); err == nil {
		f.Actor = uuid.NullUUID{UUID: account.UUID(), Valid: true}
	} else if req.ActorId != "" {
		return fault.Invalid("actor_id", err.Error())
	}
	if req.StartTime != nil {
		f.From = req.StartTime.AsTime()
	}
	if req.EndTime != nil {
		f.To = req.EndTime.AsTime()
	}
	return nil
}

func event(e *audit.Event) (*auditv1.Event, error) {
	details, err := structpb.NewStruct(e.Details)
	if err != nil {
		return nil, err
	}
	kind := auditv1.ActorKind_ACTOR_KIND_SYSTEM
	switch e.ActorKind {
	case audit.User:
		kind = auditv1.ActorKind_ACTOR_KIND_USER
	case audit.ServiceAccount:
		kind = auditv1.ActorKind_ACTOR_KIND_SERVICE_ACCOUNT
	case audit.Operator:
		kind = auditv1.ActorKind_ACTOR_KIND_OPERATOR
	}
	return &auditv1.Event{
		Id:          e.ID.String(),
		Action:      e.Action,
		ActorKind:   kind,
		ActorUserId: e.ActorUserID.String(),
		TargetId:    e.TargetID,
		WorkspaceId: e.WorkspaceID.String(),
		UserId:      e.UserID.String(),
		CreateTime:  convert.Time(e.CreateTime),
		Details:     details,

		ActorServiceAccountId: e.ActorServiceAccountID.String(),
		ActorApiKeyId:         e.ActorAPIKeyID.String(),
		ImpersonatorUserId:    e.ImpersonatorID.String(),
	}, nil
}
