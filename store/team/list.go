package team

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// State is whether a membership is active.
type State string

// The states. The zero State stands for both.
const (
	Active      State = "active"
	Deactivated State = "deactivated"
)

// Order is how members are sorted.
type Order string

// The orders. The zero Order is OldestFirst.
const (
	OldestFirst Order = "oldest first"
	NewestFirst Order = "newest first"
	ByName      Order = "by name"
	ByAddress   Order = "by address"
)

// Filter says which members of a workspace are asked for.
type Filter struct {
	Role   authz.Role // "" for any
	State  State
	Search string     // beginnings of words, each of which must be found
	Users  []ids.User // of whom each is one; empty for any
	Order  Order
}

// listed is a membership with what it is sorted by.
type listed struct {
	Membership `bun:",extend"`

	SortKey string `bun:",scanonly"`
}

// List returns a page of a workspace's memberships and the next page's token. An
// index has every order, alone and with either filter, and the page is cut before
// profiles are looked up: what a page costs does not depend on how many members there
// are. What a search costs depends on how many it finds, and where they stand in the
// order.
//
// Errors: fault PAGE_TOKEN_INVALID.
func (r Repository) List(ctx context.Context, workspace ids.Workspace, f Filter, page postgres.Page) ([]Membership, string, error) {
	key, direction, beyond := "''", "", ">"
	switch f.Order {
	case NewestFirst:
		direction, beyond = " DESC", "<"
	case ByName:
		key = "name_key"
	case ByAddress:
		key = "address_key"
	}
	cut := r.db.NewSelect().TableExpr("team.memberships").ColumnExpr("*, ? AS sort_key", bun.Safe(key)).
		Where("workspace_id = ?", workspace).Limit(int64(page.Limit()) + 1)
	order := "id" + direction
	if key != "''" {
		order = key + ", id"
	}
	cut = cut.OrderExpr(order)
	if f.Role != "" {
		cut = cut.Where("role = ?", f.Role)
	}
	switch f.State {
	case Active:
		cut = cut.Where("deactivate_time IS NULL")
	case Deactivated:
		cut = cut.Where("deactivate_time IS NOT NULL")
	}
	if words := query(workspace, f.Search); words != "" {
		cut = cut.Where("terms @@ ?::tsquery", words)
	}
	if len(f.Users) > 0 {
		cut = cut.Where("user_id IN (?)", bun.List(f.Users))
	}
	scope := fmt.Sprintf("memberships of %s %q %s", workspace, []string{string(f.Role), string(f.State), f.Search, string(f.Order)}, f.Users)
	var at struct{ Key, ID string }
	if found, err := r.pager.Position(page, scope, &at); err != nil {
		return nil, "", err
	} else if found && key == "''" {
		cut = cut.Where("id "+beyond+" ?", at.ID)
	} else if found {
		cut = cut.Where("("+key+", id) > (?, ?)", at.Key, at.ID)
	}
	var rows []listed
	err := r.db.NewSelect().Model(&rows).ModelTableExpr("(?) AS m", cut).
		ColumnExpr("m.id, m.workspace_id, m.user_id, m.role, m.version, m.create_time, m.update_time, m.deactivate_time, m.sort_key").
		ColumnExpr("p.display_name, coalesce(p.address, '') AS address").
		Join("JOIN identity.profiles AS p ON p.user_id = m.user_id").
		OrderExpr("m.sort_key, m.id" + direction).Scan(ctx)
	if err != nil {
		return nil, "", err
	}
	more := len(rows) > page.Limit()
	if more {
		rows = rows[:page.Limit()]
	}
	list := make([]Membership, len(rows))
	for i := range rows {
		list[i] = rows[i].Membership
	}
	if !more {
		return list, "", nil
	}
	last := rows[len(rows)-1]
	at.Key, at.ID = last.SortKey, last.ID.UUID().String()
	return list, r.pager.Token(scope, at), nil
}
