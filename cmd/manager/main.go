// Command manager is LogicSpike Manager: the server, and what its operator needs
// beside it. `manager --help` lists the commands.
package main

import "os"

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }
