package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/team"
	"github.com/logicspike/manager/store/tenant"
)

// NewWorkspace is a wish for a workspace.
type NewWorkspace struct {
	Creator ids.User
	Name    string
	Slug    string // "" makes one from the name
	// RequestID makes the wish safe to repeat, if it is set.
	RequestID uuid.NullUUID
}

func (n NewWorkspace) digest() []byte {
	data, _ := json.Marshal([]string{n.Name, n.Slug})
	sum := sha256.Sum256(data)
	return sum[:]
}

// CreateWorkspace creates a workspace with its creator as owner. Repeated with the
// same request id and content it returns the same workspace.
//
// Errors: fault SLUG_TAKEN, REQUEST_ID_REUSED.
func (s *Store) CreateWorkspace(ctx context.Context, n NewWorkspace) (*tenant.Workspace, *team.Membership, error) {
	w, m, err := s.createWorkspace(ctx, n)
	if fault.Has(err, fault.RequestIDReused) { // by another call, just now, or by another content
		return s.createWorkspace(ctx, n)
	}
	return w, m, err
}

func (s *Store) createWorkspace(ctx context.Context, n NewWorkspace) (w *tenant.Workspace, m *team.Membership, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if n.RequestID.Valid {
			if w, err = t.tenant.CreatedBy(ctx, n.Creator, n.RequestID.UUID); err != nil {
				return err
			}
			if w != nil {
				if !bytes.Equal(w.CreateRequestDigest, n.digest()) {
					return ErrRequestIDReused()
				}
				m, err = t.team.MembershipOf(ctx, w.ID, n.Creator)
				return err
			}
		}
		user, err := t.lockCaller(ctx, n.Creator)
		if err != nil {
			return err
		}
		w = &tenant.Workspace{
			ID: ids.New[ids.Workspace](), Name: n.Name, Slug: n.Slug, Version: 1, CreateTime: t.now, UpdateTime: t.now,
			CreatorID: n.Creator, CreateRequestID: n.RequestID, CreateRequestDigest: n.digest(),
		}
		if m, err = t.foundWorkspace(ctx, w, user); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{WorkspaceID: w.ID, Action: "workspace.created", TargetID: w.ID.String()})
	})
	return w, m, err
}

// WorkspaceChange is what to change of a workspace; nil leaves it as it is.
type WorkspaceChange struct {
	Name    *string
	Slug    *string
	Version int64 // must be the present one, unless 0
}

// UpdateWorkspace changes a workspace.
//
// Errors: fault SLUG_TAKEN, ETAG_MISMATCH, NOT_FOUND.
func (s *Store) UpdateWorkspace(ctx context.Context, id ids.Workspace, change WorkspaceChange) (w *tenant.Workspace, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		a, err := t.lockTeam(ctx, id)
		if err != nil {
			return err
		}
		w = a.workspace
		if change.Version != 0 && change.Version != w.Version {
			return errETag()
		}
		details := map[string]any{}
		set := func(field string, to *string, value *string) {
			if value != nil {
				details[field] = map[string]any{"before": *to, "after": *value}
				*to = *value
			}
		}
		set("name", &w.Name, change.Name)
		set("slug", &w.Slug, change.Slug)
		if err := t.tenant.Update(ctx, w, t.now); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{WorkspaceID: id, Action: "workspace.updated", TargetID: id.String(), Details: details})
	})
	return w, err
}
