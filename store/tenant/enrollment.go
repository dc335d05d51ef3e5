package tenant

import (
	"context"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// EnrollmentOf returns what the domain of a user's proven address entitles them to,
// or nil.
func (r Repository) EnrollmentOf(ctx context.Context, user ids.User) (*Enrollment, error) {
	e := new(Enrollment)
	err := r.db.NewSelect().Model(e).
		Join("JOIN identity.profiles AS p ON substring(p.address_key FROM '[^@]*$') = e.domain").
		Where("p.user_id = ? AND p.email_verified", user).Scan(ctx)
	if postgres.NotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}
