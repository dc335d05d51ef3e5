package postgres

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"
)

// Prepared is a statement of a fixed text, with arguments $1, $2 and so on, that
// PostgreSQL analyses and plans once for each connection: for what each sign-in asks. bun
// writes arguments into the text, so that its statements are all new ones. The plan is a
// generic one, made without the arguments: it suits what is found by keys, and not what
// should use a partial index or the beginning of a text for an argument.
//
// db is a bun.Tx or a *bun.DB; anything else panics. Errors are those of the database.
type Prepared string

// QueryRow runs it for one row. Its Scan returns sql.ErrNoRows when there is none.
func (p Prepared) QueryRow(ctx context.Context, db bun.IDB, args ...any) *sql.Row {
	return plain(db).QueryRowContext(ctx, string(p), prepared(args)...)
}

// Query runs it for rows, which are to be closed.
func (p Prepared) Query(ctx context.Context, db bun.IDB, args ...any) (*sql.Rows, error) {
	return plain(db).QueryContext(ctx, string(p), prepared(args)...)
}

// Exec runs it, and returns how many rows it changed, locked or found.
func (p Prepared) Exec(ctx context.Context, db bun.IDB, args ...any) (int64, error) {
	result, err := plain(db).ExecContext(ctx, string(p), prepared(args)...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Column reads the only column of what Query returned, and closes it; nil for no rows.
func Column[T any](rows *sql.Rows, err error) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []T
	for rows.Next() {
		var one T
		if err := rows.Scan(&one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

func prepared(args []any) []any {
	return append([]any{pgx.QueryExecModeCacheStatement}, args...)
}

// plain returns what runs statements as they are: bun's own methods look for its
// placeholders.
func plain(db bun.IDB) interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
} {
	switch db := db.(type) {
	case bun.Tx:
		return db.Tx
	case *bun.DB:
		return db.DB
	}
	panic("neither a database nor a transaction")
}
