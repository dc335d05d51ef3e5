package store

import (
	"context"
	"strings"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/identity"
	"github.com/logicspike/manager/store/tenant"
)

// A verified domain that enrols automatically makes those who have proven an
// address of it members, when they register or sign in. Whoever cannot be enrolled
// registers or signs in all the same.

// domainOf returns the domain of an address by its key.
func domainOf(addressKey string) string { return addressKey[strings.LastIndexByte(addressKey, '@')+1:] }

// enrollmentAt returns the workspace that whoever proves an address joins, or nil.
func (t *tx) enrollmentAt(ctx context.Context, addressKey string) (*tenant.Enrollment, error) {
	e, err := t.tenant.Enrollment(ctx, domainOf(addressKey))
	if err != nil || e == nil || e.Enrollment != tenant.Automatic {
		return nil, err
	}
	return e, nil
}

// lockEnrollmentOf returns the workspace, locked, that a user joins who signs in, or
// nil. It is called before the user is locked.
func (t *tx) lockEnrollmentOf(ctx context.Context, user ids.User) (*tenant.Enrollment, error) {
	e, err := t.tenant.EnrollmentOf(ctx, user)
	if err != nil || e == nil || e.Enrollment != tenant.Automatic {
		return nil, err
	}
	if _, err := t.team.MembershipOf(ctx, e.WorkspaceID, user); err == nil || !fault.Has(err, fault.Missing) {
		return nil, err
	}
	u, err := t.identity.User(ctx, user)
	if err != nil {
		return nil, err
	}
	if departed, err := t.departed(ctx, e.WorkspaceID, u, false); err != nil || departed {
		return nil, err
	}
	locked, err := t.lockAll(ctx, e.WorkspaceID)
	if err != nil || locked[e.WorkspaceID] == nil {
		return nil, err
	}
	return e, nil
}

// enroll makes a user a member by an enrollment whose workspace is locked, unless
// they are one, were removed or left, or there is no seat. What was read before the
// lock is read again: the enrollment, and whose the address is.
func (t *tx) enroll(ctx context.Context, seen *tenant.Enrollment, user *identity.User) error {
	if seen == nil || user.Email == nil || !user.Email.Verified() {
		return nil
	}
	e, err := t.enrollmentAt(ctx, user.Email.AddressKey)
	if err != nil || e == nil || e.WorkspaceID != seen.WorkspaceID {
		return err
	}
	if departed, err := t.departed(ctx, e.WorkspaceID, user, false); err != nil || departed {
		return err
	}
	if _, err := t.team.MembershipOf(ctx, e.WorkspaceID, user.ID); err == nil || !fault.Has(err, fault.Missing) {
		return err
	}
	role, err := t.invitedRole(ctx, e.WorkspaceID, user.Email.AddressKey, e.Role)
	if err != nil {
		return err
	}
	free, limited, err := t.freeSeats(ctx, e.WorkspaceID, true)
	if err != nil || limited && free < 1 {
		return err
	}
	_, err = t.join(ctx, e.WorkspaceID, user, role, map[string]any{"domain": e.Domain})
	return err
}
