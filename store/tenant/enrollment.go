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
	return postgres.OrNil(e, r.db.NewSelect().Model(e).
		Join("JOIN identity.profiles AS p ON substring(p.address_key FROM '[^@]*$') = e.domain").
		Where("p.user_id = ? AND p.email_verified", user).Scan(ctx))
}
