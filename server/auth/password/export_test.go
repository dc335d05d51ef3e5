package password

import "strings"

// Common returns the list of common passwords.
func Common() []string { return strings.Fields(commonList) }
