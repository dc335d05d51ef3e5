package bench

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"text/tabwriter"
)

// TestMain prints the table after the benchmarks.
func TestMain(m *testing.M) {
	code := m.Run()
	if len(table) > 0 {
		fmt.Printf("\n%s\n", machine())
		if err := print(os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// result is a line of the table: what was measured and what bounds it.
type result struct {
	name string
	turn
	unit string
	what string // the limit is; "" when it is a number that was agreed upon
	// least is the ratio that is required; or, with most, the greatest. Both 0:
	// none.
	least, most float64
}

var table []result

// report adds a line to the table and to what `go test` prints.
func report(b *testing.B, r result) {
	b.ReportMetric(0, "ns/op") // not shown
	b.ReportMetric(r.measured, r.unit)
	b.ReportMetric(r.limit, "limit-"+r.unit)
	b.ReportMetric(r.ratio(), "ratio-"+r.unit)
	table = append(table, r)
}

func (r result) required() (text, verdict string) {
	switch {
	case r.least > 0:
		return fmt.Sprintf(">= %.0f %%", 100*r.least), verdictOf(r.ratio() >= r.least)
	case r.most > 0:
		return fmt.Sprintf("<= %.0f %%", 100*r.most), verdictOf(r.ratio() <= r.most)
	}
	return "", ""
}

func verdictOf(ok bool) string {
	if ok {
		return "ok"
	}
	return "below"
}

func print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "\tmeasured\tlimit\tratio\trequired\t")
	for _, r := range table {
		required, verdict := r.required()
		limit := number(r.limit) + " " + r.unit
		if r.what != "" {
			limit += " (" + r.what + ")"
		}
		fmt.Fprintf(t, "%s\t%s %s\t%s\t%.0f %%\t%s\t%s\n",
			r.name, number(r.measured), r.unit, limit, 100*r.ratio(), required, verdict)
	}
	return t.Flush()
}

// number writes three digits or more.
func number(x float64) string {
	if x < 100 {
		return fmt.Sprintf("%.3g", x)
	}
	return fmt.Sprintf("%.0f", x)
}

// version is PostgreSQL's, once a benchmark has used it.
var version string

// machine describes what the numbers were measured on.
func machine() string {
	parts := []string{fmt.Sprintf("%d cores", runtime.NumCPU())}
	if model := field("/proc/cpuinfo", "model name"); model != "" {
		parts = append(parts, model)
	}
	var kib int
	if _, err := fmt.Sscanf(field("/proc/meminfo", "MemTotal"), "%d kB", &kib); err == nil {
		parts = append(parts, fmt.Sprintf("%.0f GiB of memory", float64(kib)/(1<<20)))
	}
	parts = append(parts, runtime.GOOS+"/"+runtime.GOARCH, runtime.Version())
	if version != "" {
		parts = append(parts, "PostgreSQL "+version)
	}
	return strings.Join(parts, ", ")
}

// field returns the value of the first line of a file that begins with a name
// and has a colon; "" where there is no such file.
func field(file, name string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(content)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
