package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker (see the Makefile).
var version string

type versionCmd struct{}

// Run shows the version.
func (versionCmd) Run(c console) error {
	_, err := fmt.Fprintln(c.out, describeBuild())
	return err
}

// programVersion returns the version: the linker's, or that of the module, or
// "dev".
func programVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

// describeBuild returns the version, the commit if it is known, and what the
// program was built by and for.
func describeBuild() string {
	commit := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		var revision, modified string
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				revision = s.Value
			case "vcs.modified":
				modified = s.Value
			}
		}
		if revision != "" {
			commit = "commit " + revision[:min(12, len(revision))]
			if modified == "true" {
				commit += " with changes"
			}
			commit += ", "
		}
	}
	return fmt.Sprintf("manager %s (%s%s, %s/%s)", programVersion(), commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
