package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/logicspike/manager/internal/testkit"
)

const readme = "../../README.md"

func readReadme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTheReadmesTourRuns runs what the README tells a newcomer to type.
func TestTheReadmesTourRuns(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("the README's tour needs curl: apt-get install curl")
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "grpcurl"), "github.com/fullstorydev/grpcurl/cmd/grpcurl").CombinedOutput(); err != nil {
		t.Fatalf("build grpcurl: %v\n%s", err, out)
	}
	srv := testkit.New(t, testkit.Options{})
	blocks := regexp.MustCompile("(?s)<!-- tour[^>]*-->\n```bash\n(.*?)```").FindAllStringSubmatch(readReadme(t), -1)
	if len(blocks) != 3 {
		t.Fatalf("the README's tour has %d blocks", len(blocks))
	}
	script := strings.ReplaceAll(blocks[0][1]+blocks[1][1]+blocks[2][1], "localhost:8080", strings.TrimPrefix(srv.URL, "http://"))
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// The JSON encoder varies its spaces, so that nobody relies on them.
	printed := strings.ReplaceAll(string(out), " ", "")
	for _, want := range []string{
		"logicspike.tenant.v1.WorkspaceService", `"name":"DifferenceEngines"`, `"state":"WORKSPACE_STATE_DELETED"`,
		`"state":"WORKSPACE_STATE_ACTIVE"`, `"nextStep":"INVITATION_STEP_REGISTER"`, `"displayName":"Charles"`, `{"membershipCount":2,"deletedUserCount":2}`, `"reason":"SESSION_REQUIRED"`,
	} {
		if !strings.Contains(printed, want) {
			t.Errorf("the tour does not print %s:\n%s", want, out)
		}
	}
}

// TestTheReadmeNamesTestsThatExist keeps the guarantees tied to their proofs.
func TestTheReadmeNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	exist := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git" || entry.Name() == "manager-data") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, match := range regexp.MustCompile(`(?m)^func (Test\w+)`).FindAllStringSubmatch(string(text), -1) {
			exist[match[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(readReadme(t), -1)
	if len(named) < 20 {
		t.Errorf("the README names %d tests", len(named))
	}
	for _, match := range named {
		if !exist[match[1]] {
			t.Errorf("the README names %s, which does not exist", match[1])
		}
	}
}

// TestTheReadmeNamesEveryMethod keeps its table of the API whole.
func TestTheReadmeNamesEveryMethod(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true})
	text := readReadme(t)
	for _, procedure := range srv.Server.Rules().Procedures() {
		service, method := filepath.Split(strings.TrimPrefix(procedure, "/logicspike."))
		row := regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(strings.TrimSuffix(service, "/")) + "` \\| (.*) \\|$").FindStringSubmatch(text)
		if row == nil || !slices.Contains(strings.Split(row[1], ", "), method) {
			t.Errorf("the README does not name %s", procedure)
		}
	}
}
