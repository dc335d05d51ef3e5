package embedded

import "syscall"

// endWithParent asks the kernel to shut the server down in order when the
// manager dies, even by SIGKILL. The kernel means the thread that started the
// child, see startProcess.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }
