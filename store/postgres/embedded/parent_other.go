//go:build !linux

package embedded

import "syscall"

// endWithParent does nothing: the system cannot end a child with its parent.
// The next start stops a server that was left behind.
func endWithParent(*syscall.SysProcAttr) {}
