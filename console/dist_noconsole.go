//go:build noconsole

package console

import "embed"

// dist is empty: the program leaves the application out, whatever is in the folder.
var dist embed.FS
