// Package migrations holds the database's schema as SQL files, applied in the
// order of their numbers. A file that was released is never changed.
package migrations

import "embed"

// Files are the migrations, named NNNN_<what>.sql.
//
//go:embed *.sql
var Files embed.FS
