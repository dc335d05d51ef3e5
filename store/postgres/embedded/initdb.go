package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// initPrefix begins the names of folders in which a set-up is under way.
const initPrefix = "data.init-"

// dataVersion returns the major version that made the data folder, 0 if it is
// missing or empty.
func dataVersion(data string) (int, error) {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		entries, err := os.ReadDir(data)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		if len(entries) > 0 {
			return 0, fmt.Errorf("%s is not empty, but holds no PostgreSQL data (no file PG_VERSION)", data)
		}
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	major, _, _ := strings.Cut(strings.TrimSpace(string(text)), ".")
	version, err := strconv.Atoi(major)
	if err != nil {
		return 0, fmt.Errorf("%s/PG_VERSION holds %q, which is no version", data, text)
	}
	return version, nil
}

// initialise makes the data folder. The work is done under another name and the
// folder renamed when it is complete, so that a half-made one is never used.
func initialise(ctx context.Context, o Options, acct account, progs programs, data string) error {
	began := time.Now()
	o.Logger.Info("setting up a new database", "folder", data, "postgres", progs.major)
	err := initdb(ctx, o, acct, progs, data, "C.UTF-8")
	if err != nil && ctx.Err() == nil && strings.Contains(err.Error(), "locale") {
		err = initdb(ctx, o, acct, progs, data, "C") // not every system has the other one
	}
	if err != nil {
		return err
	}
	o.Logger.Info("database is set up", "took", time.Since(began).Round(time.Millisecond))
	return nil
}

func initdb(ctx context.Context, o Options, acct account, progs programs, data, locale string) error {
	temp, err := os.MkdirTemp(o.Dir, initPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := acct.give(temp); err != nil {
		return err
	}
	proc, err := startProcess(acct, o.Logger, o.Dir, progs.initdb,
		"--pgdata="+temp, "--username="+Superuser, "--auth=trust",
		"--encoding=UTF8", "--locale="+locale, "--data-checksums")
	if err != nil {
		return err
	}
	if err := proc.run(ctx); err != nil {
		return err
	}
	if err := os.Remove(data); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(temp, data); err != nil {
		return err
	}
	return syncDir(o.Dir)
}

// syncDir makes a rename in the folder durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// removeLeftovers removes what set-ups and downloads that were cut short left
// behind. The caller holds the lock, so none is under way.
func removeLeftovers(dir string) {
	for _, prefix := range []string{initPrefix, fetchPrefix} {
		paths, _ := filepath.Glob(filepath.Join(dir, prefix+"*"))
		for _, path := range paths {
			_ = os.RemoveAll(path)
		}
	}
}
