// Package embedded runs a private PostgreSQL server below a data folder.
//
// It is meant for the first five minutes, for small installations and for
// tests: one folder, one server, nobody else can connect. The server listens on
// a unix socket only, in a folder that just its owner and root may enter, which
// is why no password is needed.
//
// What lies in the folder:
//
//	lock           held (flock) while a manager uses the folder; holds its pid
//	data/          the PostgreSQL data folder
//	run/           the socket
//	bin-<version>/ server programs, if they had to be downloaded
//
// The package works on Linux and macOS.
package embedded
