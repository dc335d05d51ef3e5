package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// root is the repository's folder, seen from this package.
const root = "../.."

// skipped are the names of what is not part of the repository, and of git's own
// folder, which is a file in a worktree.
var skipped = []string{".git", "node_modules", "third_party", "bin", "dist", "manager-data", "test-output", "coverage.out"}

// sourceFiles returns the paths of the repository's files, relative to its
// folder, with slashes.
func sourceFiles() ([]string, error) {
	var files []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // removed meanwhile
			}
			return err
		}
		switch skip := slices.Contains(skipped, entry.Name()); {
		case skip && entry.IsDir():
			return filepath.SkipDir
		case skip || !entry.Type().IsRegular():
			return nil
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		files = append(files, filepath.ToSlash(relative))
		return nil
	})
	return files, err
}

// goFiles returns those of the paths that are Go files, tests among them or not.
func goFiles(files []string, tests bool) []string {
	return slices.DeleteFunc(slices.Clone(files), func(f string) bool {
		return !strings.HasSuffix(f, ".go") || !tests && strings.HasSuffix(f, "_test.go")
	})
}
