package main

import (
	"fmt"
	"io"

	"github.com/alecthomas/kong"
)

// cli is the command line. Each command is in a file of its own.
type cli struct {
	Serve    serveCmd    `cmd:"" help:"Run the server, until it is told to end (Ctrl-C, SIGTERM)."`
	Migrate  migrateCmd  `cmd:"" help:"Bring the database's schema up to date, or show how far it is."`
	Keys     keysCmd     `cmd:"" help:"Show the keys that sign access tokens, and rotate them."`
	Plans    plansCmd    `cmd:"" help:"Say which plans are offered."`
	Invoice  invoiceCmd  `cmd:"" help:"Show invoices, and settle them."`
	Operator operatorCmd `cmd:"" help:"Say who is an operator of the server."`
	User     userCmd     `cmd:"" help:"Find accounts, and disable, sign out or help them."`
	Version  versionCmd  `cmd:"" help:"Show the version of this program."`

	HashPasswords hashPasswordsCmd `cmd:"" hidden:"" help:"Hash passwords for the server that started it."`
}

// console is where a command writes to.
type console struct {
	out io.Writer // what was asked for
	err io.Writer // logs and errors
}

// Statuses that the program ends with.
const (
	statusDone   = 0
	statusFailed = 1
	statusUsage  = 2 // the command line or a setting is wrong
)

// execute runs one command line, and returns the status to end with. Without a
// command it shows the help.
func execute(args []string, out, errOut io.Writer) int {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	var exited bool
	var c cli
	parser, err := kong.New(&c,
		kong.Name("manager"),
		kong.Description("LogicSpike Manager: accounts, workspaces and teams for B2B products.\n\nEvery setting is a flag and an environment variable; the flag wins."),
		kong.Writers(out, errOut),
		kong.Exit(func(int) { exited = true }), // after --help
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 120}),
		kong.Bind(console{out, errOut}),
	)
	if err != nil {
		panic(err) // the tags of cli are wrong
	}
	command, err := parser.Parse(args)
	if exited {
		return statusDone
	}
	if err != nil {
		fmt.Fprintf(errOut, "manager: %v\n", err)
		return statusUsage
	}
	if err := command.Run(); err != nil {
		fmt.Fprintf(errOut, "manager: %v\n", err)
		return statusFailed
	}
	return statusDone
}
