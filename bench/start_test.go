package bench

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	starts = 5
	// idle is how long the program has had nothing to do when its memory is read.
	idle = 2 * time.Second

	startLimit  = 300.0 // milliseconds
	memoryLimit = 60.0  // MB
)

// BenchmarkStart builds the program and starts it on a data folder that is there
// already: how long it takes until /readyz says so, private database server
// included, and how much memory the program then has (not its database server).
func BenchmarkStart(b *testing.B) {
	folder, err := os.MkdirTemp("", "manager-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil { // the database server may run as another user
		b.Fatal(err)
	}
	program := filepath.Join(folder, "manager")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-o", program, "../cmd/manager").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	data := filepath.Join(folder, "data")
	startProgram(b, program, data).stop(b) // makes the database
	for b.Loop() {
		var times, sizes []float64
		for range starts {
			p := startProgram(b, program, data)
			times = append(times, float64(p.took)/float64(time.Millisecond))
			time.Sleep(idle)
			sizes = append(sizes, p.memory(b))
			p.stop(b)
		}
		b.StopTimer()
		report(b, result{name: "cold start to ready", turn: turn{median(times), startLimit}, unit: "ms", most: 1})
		report(b, result{name: "idle memory", turn: turn{median(sizes), memoryLimit}, unit: "MB", most: 1})
		b.StartTimer()
	}
}

// program is the product as a process.
type program struct {
	cmd  *exec.Cmd
	out  *bytes.Buffer
	took time.Duration // until it was ready
}

// startProgram starts it and waits until it is ready.
func startProgram(b *testing.B, path, data string) *program {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // for a free port
	if err != nil {
		b.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()

	p := &program{cmd: exec.Command(path, "serve", "--listen="+address, "--admin-listen=localhost:0", "--data-dir="+data), out: &bytes.Buffer{}}
	p.cmd.Env = append(os.Environ(), "MANAGER_DATABASE_URL=") // its own
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.cmd.Process.Kill() })
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		if response, err := client.Get("http://" + address + "/readyz"); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				p.took = time.Since(began)
				return p
			}
		}
		if time.Since(began) > time.Minute {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
			b.Fatalf("not ready in a minute:\n%s", p.out)
		}
		time.Sleep(time.Millisecond)
	}
}

// memory returns the process's resident memory in MB.
func (p *program) memory(b *testing.B) float64 {
	b.Helper()
	var kib float64
	if _, err := fmt.Sscanf(field(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid), "VmRSS"), "%f kB", &kib); err == nil {
		return kib * 1024 / 1e6
	}
	out, err := exec.Command("ps", "-o", "rss=", "-p", fmt.Sprint(p.cmd.Process.Pid)).Output() // where there is no /proc
	if err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Sscan(strings.TrimSpace(string(out)), &kib); err != nil {
		b.Fatal(err)
	}
	return kib * 1024 / 1e6
}

// stop ends it in order.
func (p *program) stop(b *testing.B) {
	b.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		b.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		b.Fatalf("it ended by %v:\n%s", err, p.out)
	}
}
