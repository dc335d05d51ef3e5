package embedded

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

// fakeRepository serves a release whose programs hand over to the installed
// ones, under any version and for any system.
func fakeRepository(t *testing.T, progs programs) string {
	t.Helper()
	var release bytes.Buffer
	compressed, err := xz.NewWriter(&release)
	if err != nil {
		t.Fatal(err)
	}
	files := tar.NewWriter(compressed)
	if err := files.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "bin/", Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{progs.postgres, progs.initdb} {
		script := "#!/bin/sh\nexec " + path + " \"$@\"\n"
		header := &tar.Header{Typeflag: tar.TypeReg, Name: "bin/" + filepath.Base(path), Mode: 0o755, Size: int64(len(script))}
		if err := files.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := files.Write([]byte(script)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(files.Close(), compressed.Close()); err != nil {
		t.Fatal(err)
	}
	var jar bytes.Buffer
	archive := zip.NewWriter(&jar)
	w, err := archive.Create("postgres-linux-x86_64.txz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(release.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(jar.Bytes())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, ".jar"):
			_, _ = w.Write(jar.Bytes())
		case strings.HasSuffix(r.URL.Path, ".jar.sha256"):
			_, _ = w.Write([]byte(hex.EncodeToString(sum[:])))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestFetch(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	o := Options{Dir: newDir(t), Logger: slog.New(slog.DiscardHandler)}
	acct, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	installed, err := findPrograms(ctx, o, acct, 0)
	if err != nil {
		t.Fatal(err)
	}
	o.FetchURL = fakeRepository(t, installed)

	bin, err := fetch(ctx, o, installed.major)
	if err != nil {
		t.Fatal(err)
	}
	if entries, _ := filepath.Glob(filepath.Join(o.Dir, fetchPrefix+"*")); len(entries) > 0 {
		t.Errorf("the download left %v", entries)
	}
	if !strings.Contains(strings.Join(candidates(o.Dir), "\n"), bin) {
		t.Errorf("%s is not found at the next start", bin)
	}
	query(t, mustStart(t, Options{Dir: o.Dir, BinDir: bin}), "SELECT 'fine'")
}

func TestFetchFails(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	o := Options{Dir: newDir(t), Logger: slog.New(slog.DiscardHandler), FetchURL: server.URL}
	if _, err := fetch(context.Background(), o, 0); err == nil {
		t.Fatal("no error")
	}
	_ = filepath.WalkDir(o.Dir, func(path string, _ fs.DirEntry, err error) error {
		if path != o.Dir {
			t.Errorf("the download left %s", path)
		}
		return err
	})
}

func TestNewestFirst(t *testing.T) {
	for _, pair := range [][2]string{
		{"/usr/lib/postgresql/16/bin", "/usr/lib/postgresql/9.6/bin"},
		{"/home/me/app2/bin-18.0.0/bin", "/home/me/app2/bin-17.5.0/bin"},
		{"/opt/homebrew/opt/postgresql@17/bin", "/opt/homebrew/opt/postgresql@14/bin"},
	} {
		if newestFirst(pair[0], pair[1]) >= 0 {
			t.Errorf("%s is not before %s", pair[0], pair[1])
		}
	}
}
