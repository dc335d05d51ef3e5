package postgres

import (
	"context"
	"encoding/base64"
	"encoding/json"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/secret"
)

// Page says which part of a list is asked for.
type Page struct {
	Size  int    // how many at most; 0 means 50, more than 200 means 200
	Token string // "" for the first page
}

// Limit returns how many rows to return.
func (p Page) Limit() int {
	switch {
	case p.Size <= 0:
		return 50
	case p.Size > 200:
		return 200
	}
	return p.Size
}

// Pager makes page tokens: a position in a list, sealed, and bound to the scope
// (the list with its filter), so that a token is of use only where it was given.
type Pager struct{ box *secret.Box }

// NewPager returns a pager whose tokens every replica with the key can read.
func NewPager(key secret.Key) *Pager { return &Pager{key.Box("page token")} }

// encoding is that of tokens: strict, so that a position has one token only.
var encoding = base64.RawURLEncoding.Strict()

// Token returns the token of the page that begins after the position.
func (p *Pager) Token(scope string, position any) string {
	data, err := json.Marshal(position)
	if err != nil {
		panic(err) // never fails: positions are structs of strings
	}
	return encoding.EncodeToString(p.box.Seal(data, scope))
}

// Position reads the position of the page's token. It reports false for the
// first page.
//
// Errors: fault PAGE_TOKEN_INVALID.
func (p *Pager) Position(page Page, scope string, position any) (bool, error) {
	if page.Token == "" {
		return false, nil
	}
	sealed, err := encoding.DecodeString(page.Token)
	if err == nil {
		var data []byte
		if data, err = p.box.Open(sealed, scope); err == nil {
			err = json.Unmarshal(data, position)
		}
	}
	if err != nil {
		return false, fault.New(fault.InvalidArgument, fault.PageTokenInvalid,
			"page_token: is not one that this method gave for this filter").WithField("page_token")
	}
	return true, nil
}

// NewestFirst completes a query for a page that is sorted by id, the newest first,
// runs it into rows and returns the next page's token.
//
// Errors: fault PAGE_TOKEN_INVALID.
func NewestFirst[T any](ctx context.Context, pager *Pager, q *bun.SelectQuery, column, scope string, page Page, rows *[]T, id func(T) uuid.UUID) (string, error) {
	var before struct{ ID string }
	if found, err := pager.Position(page, scope, &before); err != nil {
		return "", err
	} else if found {
		q = q.Where("? < ?", bun.Safe(column), before.ID)
	}
	if err := q.OrderExpr(column + " DESC").Limit(int64(page.Limit()) + 1).Scan(ctx); err != nil {
		return "", err
	}
	if len(*rows) <= page.Limit() {
		return "", nil
	}
	*rows = (*rows)[:page.Limit()]
	before.ID = id((*rows)[len(*rows)-1]).String()
	return pager.Token(scope, before), nil
}
