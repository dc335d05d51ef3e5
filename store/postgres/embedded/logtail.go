package embedded

import (
	"bufio"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// tailLines is how many lines of a program's output an error shows.
const tailLines = 20

// logTail copies a program's output to a logger and remembers its end.
type logTail struct {
	log *slog.Logger
	eof chan struct{}

	mu    sync.Mutex
	lines []string
}

func newLogTail(log *slog.Logger) *logTail {
	return &logTail{log: log, eof: make(chan struct{})}
}

// read consumes r until its end and closes it. Lines beyond 16 KiB are logged in
// pieces.
func (t *logTail) read(r io.ReadCloser) {
	defer close(t.eof)
	defer r.Close()
	lines := bufio.NewReaderSize(r, 16<<10)
	for {
		line, _, err := lines.ReadLine()
		if err != nil {
			return
		}
		t.add(string(line))
	}
}

func (t *logTail) add(line string) {
	t.log.Debug(line, "source", "postgres")
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == tailLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, line)
}

// wait waits a moment for output that is still under way. It may never end: a
// child of a killed server keeps the pipe open.
func (t *logTail) wait(limit time.Duration) {
	select {
	case <-t.eof:
	case <-time.After(limit):
	}
}

func (t *logTail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
