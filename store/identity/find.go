package identity

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/uptrace/bun/dialect/pgdialect"
	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"

	"github.com/logicspike/manager/internal/ids"
)

// fold returns the form of a name in which case and accents don't matter.
func fold(s string) string {
	folded, _, err := transform.String(transform.Chain(norm.NFKD, runes.Remove(runes.In(unicode.Mn)), norm.NFC), s)
	if err != nil {
		folded = s // never: the transformers accept any text
	}
	return strings.ToLower(folded)
}

// Find returns the users whose address or name has a text in it, the newest first:
// those older than one, if that is given, and at most so many. Case does not matter,
// nor do accents in a name; domains are in their ASCII form. A text of less than three
// characters finds all.
//
// What it costs: an index has the groups of three characters of each name and
// address, so a text is looked for in those alone that have all of its groups. Where
// nearly all have them (".com"), the newest are looked through instead, of which then
// nearly each is a hit.
func (r Repository) Find(ctx context.Context, text string, before ids.User, limit int) ([]User, error) {
	older, since := "", []any{}
	if !before.IsZero() {
		older, since = " AND %s < ?", []any{before}
	}
	of := func(column string) string { return strings.ReplaceAll(older, "%s", column) }
	var found []string // ids
	var err error
	if utf8.RuneCountInString(text) < 3 {
		err = r.db.NewRaw("SELECT id FROM identity.users WHERE true"+of("id")+" ORDER BY id DESC LIMIT ?",
			append(since, limit)...).Scan(ctx, &found)
	} else {
		name, address := []any{fold(text), fold(text)}, []any{strings.ToLower(text), strings.ToLower(text)}
		for _, list := range []*[]any{&name, &address} {
			*list = append(append(*list, since...), limit)
		}
		err = r.db.NewRaw(`
			SELECT id FROM (
				(SELECT id FROM identity.users
				 WHERE strpos(name_key, ?) > 0 AND identity.grams(name_key) @> identity.grams(?)`+of("id")+`
				 ORDER BY id DESC LIMIT ?)
				UNION
				(SELECT user_id FROM identity.emails
				 WHERE strpos(address_key, ?) > 0 AND identity.grams(address_key) @> identity.grams(?)`+of("user_id")+`
				 ORDER BY user_id DESC LIMIT ?)
			) hits ORDER BY id DESC LIMIT ?`,
			append(append(name, address...), limit)...).Scan(ctx, &found)
	}
	if err != nil || len(found) == 0 {
		return nil, err
	}
	var users []User
	err = r.db.NewSelect().Model(&users).Relation("Email").
		Where("u.id IN (SELECT unnest(?::uuid[]))", pgdialect.Array(found)).
		OrderExpr("u.id DESC").Scan(ctx)
	for i := range users {
		if users[i].Email != nil && users[i].Email.UserID.IsZero() {
			users[i].Email = nil
		}
	}
	return users, err
}
