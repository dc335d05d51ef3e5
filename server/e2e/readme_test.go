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

const (
	readme   = "../../README.md"
	security = "../../docs/security.md"
)

func readReadme(t *testing.T) string { return readText(t, readme) }

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
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
		`"state":"WORKSPACE_STATE_ACTIVE"`, `"nextStep":"INVITATION_STEP_REGISTER"`, `"displayName":"Charles"`, `"displayName":"Nightlyreport"`, `"accessToken":"ey`, `{"membershipCount":2,"deletedUserCount":2}`, `"reason":"SESSION_REQUIRED"`,
	} {
		if !strings.Contains(printed, want) {
			t.Errorf("the tour does not print %s:\n%s", want, out)
		}
	}
}

// TestTheReadmeNamesTestsThatExist keeps the guarantees tied to their proofs, in the
// README and in what it says of security.
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
	for page, least := range map[string]int{readme: 20, security: 100} {
		named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(readText(t, page), -1)
		if len(named) < least {
			t.Errorf("%s names %d tests", page, len(named))
		}
		for _, match := range named {
			if !exist[match[1]] {
				t.Errorf("%s names %s, which does not exist", page, match[1])
			}
		}
	}
}

// TestPagesLinkToWhatIsThere looks at the relative links of the pages, and at those to
// headings of the same page.
func TestPagesLinkToWhatIsThere(t *testing.T) {
	t.Parallel()
	for _, page := range []string{readme, security, "../../client/ts/README.md"} {
		text := readText(t, page)
		headings := map[string]bool{}
		for _, match := range regexp.MustCompile("(?m)^#+ (.*)$").FindAllStringSubmatch(text, -1) {
			plain := regexp.MustCompile(`[^\p{L}\p{N} -]`).ReplaceAllString(strings.ToLower(match[1]), "")
			headings["#"+strings.ReplaceAll(plain, " ", "-")] = true
		}
		for _, match := range regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(text, -1) { // with a colon it is another site's
			to := match[1]
			if strings.HasPrefix(to, "#") {
				if !headings[to] {
					t.Errorf("%s links to %s, which it has not", page, to)
				}
				continue
			}
			file, _, _ := strings.Cut(to, "#")
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), file)); err != nil {
				t.Errorf("%s links to %s, which is not there", page, to)
			}
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
