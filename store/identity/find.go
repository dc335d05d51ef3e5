package identity

import (
	"context"
	"strings"

	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/logicspike/manager/internal/ids"
)

// Find returns the users whose address or name has a text in it, in any case, the
// newest first: those older than one, if that is given, and at most so many. A text
// of less than three characters finds all.
//
// What it costs: an index has the groups of three characters of each name and
// address, so a text is looked for in those alone that have all of its groups. Where
// nearly all have them (".com"), the newest are looked through instead, of which then
// nearly each is a hit.
func (r Repository) Find(ctx context.Context, text string, before ids.User, limit int) ([]User, error) {
	text = strings.ToLower(text)
	older, since := "", []any{}
	if !before.IsZero() {
		older, since = " AND %s < ?", []any{before}
	}
	of := func(column string) string { return strings.ReplaceAll(older, "%s", column) }
	var found []ids.User
	var err error
	if len([]rune(text)) < 3 {
		err = r.db.NewRaw("SELECT id FROM identity.users WHERE true"+of("id")+" ORDER BY id DESC LIMIT ?",
			append(since, limit)...).Scan(ctx, &found)
	} else {
		named := append([]any{text, text}, append(since, limit)...)
		err = r.db.NewRaw(`
			SELECT id FROM (
				(SELECT id FROM identity.users
				 WHERE strpos(lower(display_name), lower(?)) > 0 AND identity.grams(display_name) @> identity.grams(?)`+of("id")+`
				 ORDER BY id DESC LIMIT ?)
				UNION
				(SELECT user_id FROM identity.emails
				 WHERE strpos(lower(address), lower(?)) > 0 AND identity.grams(address) @> identity.grams(?)`+of("user_id")+`
				 ORDER BY user_id DESC LIMIT ?)
			) hits ORDER BY id DESC LIMIT ?`,
			append(append(named, named...), limit)...).Scan(ctx, &found)
	}
	if err != nil || len(found) == 0 {
		return nil, err
	}
	var users []User
	err = r.db.NewSelect().Model(&users).Relation("Email").
		Where("u.id IN (SELECT unnest(?::uuid[]))", pgdialect.Array(ids.UUIDs(found))).
		OrderExpr("u.id DESC").Scan(ctx)
	for i := range users {
		if users[i].Email != nil && users[i].Email.UserID.IsZero() {
			users[i].Email = nil
		}
	}
	return users, err
}
