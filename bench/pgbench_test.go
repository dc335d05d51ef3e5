package bench

import (
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/logicspike/manager/store/postgres/embedded"
)

// loggingServer is a PostgreSQL server that can log statements into a file.
type loggingServer struct {
	url    string // of the database bench
	folder string
	admin  *pgxpool.Pool
}

// startLogging starts a server with PostgreSQL's defaults but for where the log
// goes. Nothing is logged on connections that don't ask for it.
func startLogging(b *testing.B) *loggingServer {
	b.Helper()
	folder, err := os.MkdirTemp("", "manager-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil { // the server may run as another user
		b.Fatal(err)
	}
	server, err := embedded.Start(b.Context(), embedded.Options{Dir: folder, Settings: map[string]string{
		"logging_collector": "on", "log_destination": "csvlog", "log_directory": "statements", "log_filename": "log",
	}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Stop(b.Context()) })
	createDatabase(b, server.URL("postgres"))
	s := &loggingServer{url: server.URL("bench"), folder: filepath.Join(folder, "data", "statements")}
	if s.admin, err = pgxpool.New(b.Context(), s.url); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.admin.Close)
	return s
}

// loggingURL is the database's, on connections whose statements are logged.
func (s *loggingServer) loggingURL() string { return s.url + "&log_statement=all" }

// transactions waits for the log to hold a comment, and returns the statements
// of each transaction before it, from its begin to its commit.
func (s *loggingServer) transactions(b *testing.B, comment string) [][]string {
	b.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		list, err := s.read(comment)
		if err == nil {
			return list
		}
		if time.Now().After(deadline) {
			b.Fatalf("the server's log of statements: %v", err)
		}
	}
}

// lines reads the log, until visit returns false.
func (s *loggingServer) lines(visit func(session, message, detail string) bool) error {
	// The columns of a line (PostgreSQL's manual, "Using CSV-Format Log Output").
	const session, message, detail = 5, 13, 14
	file, err := os.Open(filepath.Join(s.folder, "log.csv"))
	if err != nil {
		return err
	}
	defer file.Close()
	r := csv.NewReader(file)
	for {
		line, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil || !visit(line[session], line[message], line[detail]) {
			return err
		}
	}
}

func (s *loggingServer) read(comment string) ([][]string, error) {
	var all [][]string
	open := map[string][]string{}
	found := false
	err := s.lines(func(id, message, detail string) bool {
		sql, logged := statement(message, detail)
		switch verb, _, _ := strings.Cut(strings.ToLower(sql), " "); {
		case !logged:
		case strings.Contains(sql, comment):
			found = true
		case verb == "begin":
			open[id] = []string{sql}
		case open[id] == nil:
		case verb == "commit":
			all = append(all, append(open[id], sql))
			delete(open, id)
		default:
			open[id] = append(open[id], sql)
		}
		return !found
	})
	if err == nil && !found {
		err = fmt.Errorf("%q is not there", comment)
	}
	return all, err
}

// mark writes a comment into the log.
func (s *loggingServer) mark(b *testing.B, comment string) {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), s.loggingURL())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())
	if _, err := conn.Exec(b.Context(), "SELECT 1 "+comment); err != nil {
		b.Fatal(err)
	}
}

// sent is a statement as it was sent.
type sent struct {
	sql       string
	prepared  bool
	arguments []string // in the order of their numbers
}

// between waits for the log to hold both comments, and returns the statements
// between them.
func (s *loggingServer) between(b *testing.B, begin, end string) []sent {
	b.Helper()
	var list []sent
	var began, ended bool
	for deadline := time.Now().Add(10 * time.Second); !ended; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("the server's log of statements: %q or %q is not there", begin, end)
		}
		list, began, ended = nil, false, false
		if err := s.lines(func(_, message, detail string) bool {
			found := executed.FindStringSubmatch(message)
			switch {
			case found == nil:
			case strings.Contains(message, begin):
				began = true
			case strings.Contains(message, end):
				ended = true
				return false
			case began:
				one := sent{sql: found[2], prepared: found[1] != "" && found[1] != "<unnamed>"}
				for _, p := range parameter.FindAllStringSubmatch(strings.TrimPrefix(detail, "parameters: "), -1) {
					one.arguments = append(one.arguments, p[2])
				}
				list = append(list, one)
			}
			return true
		}); err != nil {
			b.Fatal(err)
		}
	}
	return list
}

// preparedScript makes a script for pgbench of statements that change nothing. What was
// prepared is prepared on each connection, once.
func preparedScript(b *testing.B, statements []sent) string {
	b.Helper()
	var prepare, run strings.Builder
	for i, s := range statements {
		switch {
		case s.prepared:
			fmt.Fprintf(&prepare, "PREPARE s%d AS %s;\n", i, s.sql)
			fmt.Fprintf(&run, "EXECUTE s%d(%s);\n", i, strings.Join(s.arguments, ", "))
		case len(s.arguments) > 0:
			b.Fatalf("a statement with arguments that is not prepared: %+v", s)
		default:
			run.WriteString(s.sql + ";\n")
		}
	}
	script := "\\if :i = 0\n" + prepare.String() + "\\endif\n\\set i :i + 1\n" + run.String()
	file := filepath.Join(b.TempDir(), "script.sql")
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		b.Fatal(err)
	}
	return file
}

var (
	executed  = regexp.MustCompile(`(?s)^(?:statement|execute ([^:]*)): (.*)$`)
	parameter = regexp.MustCompile(`\$(\d+) = ('(?:[^']|'')*'|NULL)`)
	reference = regexp.MustCompile(`\$\d+`)
)

// statement returns the statement of a line of the log, with its parameters
// written into it.
func statement(message, detail string) (string, bool) {
	found := executed.FindStringSubmatch(message)
	if found == nil {
		return "", false
	}
	values := map[string]string{}
	for _, p := range parameter.FindAllStringSubmatch(strings.TrimPrefix(detail, "parameters: "), -1) {
		values["$"+p[1]] = p[2]
	}
	return reference.ReplaceAllStringFunc(found[2], func(name string) string { return values[name] }), true
}

// pgbench runs scripts by PostgreSQL's own benchmark.
type pgbench struct {
	program, database string
	environment       []string
}

// newPgbench finds the program beside the server's.
func newPgbench(b *testing.B, s *loggingServer) *pgbench {
	b.Helper()
	var folder string
	if err := s.admin.QueryRow(b.Context(), "SELECT setting FROM pg_config WHERE name = 'BINDIR'").Scan(&folder); err != nil {
		b.Fatal(err)
	}
	program := filepath.Join(folder, "pgbench")
	if _, err := os.Stat(program); err != nil {
		b.Fatalf("%v: install PostgreSQL with its own benchmark (Debian: apt-get install postgresql postgresql-contrib)", err)
	}
	cfg, err := pgx.ParseConfig(s.url)
	if err != nil {
		b.Fatal(err)
	}
	return &pgbench{program: program, database: cfg.Database, environment: append(os.Environ(),
		"PGOPTIONS=-c plan_cache_mode=force_generic_plan", // as the product's own connections
		"PGHOST="+cfg.Host, "PGPORT="+strconv.Itoa(int(cfg.Port)), "PGUSER="+cfg.User)}
}

var tps = regexp.MustCompile(`(?m)^tps = ([0-9.]+) \(without initial connection time\)`)

// run runs a script on so many connections, so often on each, and returns how
// many transactions were committed in a second. The script gets the variables
// first and i, which it increments.
func (p *pgbench) run(b *testing.B, script string, connections, times, first int) float64 {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), p.program, "--no-vacuum", "--protocol=simple", "--file="+script,
		"--client="+strconv.Itoa(connections), "--jobs="+strconv.Itoa(min(connections, runtime.NumCPU())), "--transactions="+strconv.Itoa(times),
		"--define=first="+strconv.Itoa(first), "--define=connections="+strconv.Itoa(connections), "--define=i=0", p.database)
	cmd.Env = p.environment
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("pgbench: %v\n%s", err, out)
	}
	found := tps.FindSubmatch(out)
	if found == nil {
		b.Fatalf("pgbench says no rate:\n%s", out)
	}
	rate, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return rate
}

var (
	anyUUID = regexp.MustCompile(`'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}'`)
	anyHash = regexp.MustCompile(`'\\x[0-9a-f]{64}'`)
)

// scriptOf makes a script for pgbench of the statements of a transaction: in
// each run everything that has to be unique is new, and the registration another
// one. The number, of twelve digits, is what the transaction has where the script
// has its own; token is the hash by which the registration was found.
func scriptOf(b *testing.B, statements []string, number string, token []byte) string {
	b.Helper()
	var s strings.Builder
	s.WriteString("\\set n " + strconv.Itoa(firstNumber) + " + :first + :i * :connections + :client_id\n")
	s.WriteString("\\set i :i + 1\n")
	s.WriteString("\\set r random(1000000000000000, 9999999999999999)\n")
	tokenHex := `'\x` + hex.EncodeToString(token) + `'`
	for _, sql := range statements {
		sql = anyHash.ReplaceAllStringFunc(sql, func(literal string) string {
			if literal == tokenHex {
				return `'\x` + tokenPrefix + `:n'`
			}
			if !strings.Contains(sql, `"auth"."sessions"`) {
				return literal
			}
			return literal[:3] + `:r ` + literal[3+16:3+64-12] + `:n'` // random, and never twice
		})
		sql = anyUUID.ReplaceAllStringFunc(sql, func(literal string) string { return literal[:25] + ":n'" })
		s.WriteString(strings.ReplaceAll(sql, number, ":n") + ";\n")
	}
	file := filepath.Join(b.TempDir(), "script.sql")
	if err := os.WriteFile(file, []byte(s.String()), 0o644); err != nil {
		b.Fatal(err)
	}
	return file
}
