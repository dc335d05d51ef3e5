//go:build !noconsole

package console

import "embed"

// dist is the built application: without Node only the file that keeps the folder.
//
//go:embed all:dist
var dist embed.FS
