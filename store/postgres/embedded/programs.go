package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// minMajor is the oldest major version that the manager works with.
const minMajor = 14

// programs are the server programs of one installation.
type programs struct {
	postgres, initdb string
	major            int
}

// findPrograms chooses the programs to use for data of the major version given
// (0: there is no data yet).
func findPrograms(ctx context.Context, o Options, acct account, data int) (programs, error) {
	if o.BinDir != "" {
		p, err := inspect(ctx, o.Dir, acct, o.BinDir)
		if err != nil {
			return programs{}, err
		}
		return p, p.check(data)
	}
	var unsuitable error
	for _, dir := range candidates(o.Dir) {
		p, err := inspect(ctx, o.Dir, acct, dir)
		if errors.Is(err, ErrAccess) || ctx.Err() != nil {
			return programs{}, err
		}
		if err == nil {
			err = p.check(data)
		}
		if err == nil {
			return p, nil
		}
		o.Logger.Debug("PostgreSQL programs not used", "folder", dir, "because", err)
		if p.major >= minMajor && unsuitable == nil {
			unsuitable = err
		}
	}
	if unsuitable != nil {
		return programs{}, unsuitable
	}
	dir, err := fetch(ctx, o, data)
	if err != nil {
		return programs{}, fmt.Errorf("no PostgreSQL %d or later is installed, and it could not be downloaded: %w", max(minMajor, data), err)
	}
	p, err := inspect(ctx, o.Dir, acct, dir)
	if err != nil {
		return programs{}, err
	}
	return p, p.check(data)
}

// check tells whether the programs can work on data of a major version.
func (p programs) check(data int) error {
	switch {
	case p.major < minMajor:
		return versionError("%s is PostgreSQL %d, but version %d or later is needed", p.postgres, p.major, minMajor)
	case data != 0 && data != p.major:
		return versionError("the data was made by PostgreSQL %d, but %s is PostgreSQL %d: "+
			"install version %d, or move the data with pg_upgrade or pg_dump", data, p.postgres, p.major, data)
	}
	return nil
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// inspect finds out which version the programs in a folder are. It runs them as
// the server will be run, so it also proves that the account can reach both the
// programs and dir.
func inspect(ctx context.Context, dir string, acct account, bin string) (programs, error) {
	p := programs{postgres: filepath.Join(bin, "postgres"), initdb: filepath.Join(bin, "initdb")}
	for _, path := range []string{p.postgres, p.initdb} {
		if !executable(path) {
			return programs{}, fmt.Errorf("no program %s", path)
		}
	}
	proc, err := startProcess(acct, slog.New(slog.DiscardHandler), dir, p.postgres, "--version")
	if err != nil {
		if acct.switched && errors.Is(err, fs.ErrPermission) {
			err = errors.Join(acct.checkSearch(dir), acct.checkSearch(p.postgres), err)
		}
		return programs{}, err
	}
	if err := proc.run(ctx); err != nil {
		return programs{}, err
	}
	<-proc.tail.eof
	m := versionPattern.FindStringSubmatch(proc.tail.String())
	if m == nil {
		return programs{}, fmt.Errorf("%s --version says %q, which is no PostgreSQL version", p.postgres, proc.tail)
	}
	p.major, err = strconv.Atoi(m[1])
	return p, err
}

// candidates lists the folders that hold a postgres program, the preferred one
// first. Links are followed, since initdb lies beside the real program only.
func candidates(dir string) []string {
	var places []string
	for _, entry := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(entry) {
			places = append(places, entry)
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",       // Debian, Ubuntu
		"/usr/pgsql-*/bin",                // Red Hat, Fedora, SUSE
		"/usr/libexec/postgresql*",        // Alpine
		"/opt/homebrew/opt/postgres*/bin", // Homebrew on Apple silicon
		"/usr/local/opt/postgres*/bin",    // Homebrew on Intel
		"/home/linuxbrew/.linuxbrew/opt/postgres*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
		filepath.Join(escapeGlob(dir), fetchedPrefix+"*/bin"), // downloaded earlier
	} {
		found, _ := filepath.Glob(pattern)
		slices.SortFunc(found, newestFirst)
		places = append(places, found...)
	}
	var bins []string
	for _, place := range places {
		real, err := filepath.EvalSymlinks(filepath.Join(place, "postgres"))
		if err != nil || !executable(real) {
			continue
		}
		if bin := filepath.Dir(real); !slices.Contains(bins, bin) {
			bins = append(bins, bin)
		}
	}
	return bins
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

var versions = regexp.MustCompile(`(\d+)(\.\d+)*`)

// newestFirst orders paths by the last version number in them, downwards.
func newestFirst(a, b string) int {
	number := func(path string) int {
		all := versions.FindAllStringSubmatch(path, -1)
		if all == nil {
			return 0
		}
		n, _ := strconv.Atoi(all[len(all)-1][1])
		return n
	}
	return number(b) - number(a)
}

// escapeGlob makes a path stand for itself in a pattern.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
