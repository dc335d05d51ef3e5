package server_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	"github.com/logicspike/manager/server"
)

func copyTo(w io.Writer, r io.Reader) (int64, error) { return io.Copy(w, r) }

func dial(t *testing.T, s *running) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

func TestSlowClientsAreCut(t *testing.T) {
	t.Parallel()
	s := start(t, nil, func(o *server.Options) {
		o.ReadHeaderTimeout, o.RPC.RequestTimeout, o.ReadTimeout, o.IdleTimeout = 300*time.Millisecond, 200*time.Millisecond, 600*time.Millisecond, 300*time.Millisecond
	})
	const head = "POST " + getSession + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + token + "\r\n"
	for name, test := range map[string]struct {
		sent string
		want string // the first line of the answer
	}{
		"nothing":               {"", ""},
		"half a head":           {head, ""},
		"half the preface of 2": {"PRI * HTTP/2.0\r\n", ""},
		"half a body":           {head + "Content-Length: 10\r\n\r\n{", "HTTP/1.1 504 Gateway Timeout"},
		"half a chunked body":   {head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{", "HTTP/1.1 504 Gateway Timeout"},
		"nothing after a call":  {head + "Content-Length: 2\r\n\r\n{}", "HTTP/1.1 200 OK"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, s)
			_, _ = io.WriteString(c, test.sent)
			began := time.Now()
			answer, err := io.ReadAll(c)
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Fatal("the connection is still open")
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("cut after %v", took)
			}
			first, _, _ := strings.Cut(string(answer), "\r\n")
			if test.want != "" && first != test.want {
				t.Errorf("answer %q", answer)
			}
		})
	}
}

func TestSlowBodyOverHTTP2IsCut(t *testing.T) {
	t.Parallel()
	s := start(t, nil, func(o *server.Options) {
		o.RPC.RequestTimeout, o.ReadTimeout = 100*time.Millisecond, 300*time.Millisecond
	})
	body, more := io.Pipe()
	defer func() { _ = more.Close() }()
	r, _ := http.NewRequest(http.MethodPost, s.url+getSession, body)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	began := time.Now()
	response, err := client(t, true).Do(r)
	if err == nil {
		_ = response.Body.Close()
		if response.StatusCode != http.StatusGatewayTimeout {
			t.Errorf("status %d", response.StatusCode)
		}
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("cut after %v", took)
	}
}

// TestCallMayTakeAsLongAsItsTimeout has a call outlast the time in which its
// request had to be read.
func TestCallMayTakeAsLongAsItsTimeout(t *testing.T) {
	t.Parallel()
	s := start(t, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, func(o *server.Options) {
		o.RPC.RequestTimeout, o.ReadTimeout = 600*time.Millisecond, 200*time.Millisecond
	})
	for _, http2 := range []bool{false, true} {
		ctx, _ := signedIn()
		began := time.Now()
		_, err := authv1connect.NewSessionServiceClient(client(t, http2), s.url).GetSession(ctx, &authv1.GetSessionRequest{})
		if took := time.Since(began); connect.CodeOf(err) != connect.CodeDeadlineExceeded || took < 600*time.Millisecond {
			t.Errorf("HTTP/2 %v: %v after %v", http2, err, took)
		}
	}
}

func TestHugeHeadersAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	for _, http2 := range []bool{false, true} {
		for _, size := range []int{8 << 10, 40 << 10, 1 << 20} {
			r, _ := http.NewRequest(http.MethodPost, s.url+getSession, strings.NewReader("{}"))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("X-Huge", strings.Repeat("x", size))
			response, err := client(t, http2).Do(r)
			status := 0
			if err == nil {
				status = response.StatusCode
				_ = response.Body.Close()
			}
			if small := size == 8<<10; small && status != 200 || !small && (status != 431 && err == nil) {
				t.Errorf("HTTP/2 %v, %d bytes: status %d, %v", http2, size, status, err)
			}
		}
	}
}

func TestHugeBodiesAreRefusedWithFlatMemory(t *testing.T) {
	s := start(t, nil, nil)
	var bomb bytes.Buffer // 200 KB that hold 200 MB
	z, _ := gzip.NewWriterLevel(&bomb, gzip.BestCompression)
	block := make([]byte, 1<<20)
	for range 200 {
		_, _ = z.Write(block)
	}
	_ = z.Close()
	small := bomb.Bytes()[:60<<10] // 60 KB that hold 60 MB, and then break off
	for name, test := range map[string]struct {
		body     []byte
		encoding string
	}{
		"plain, over 64 KiB": {make([]byte, 65<<10), ""},
		"plain, over 1 MiB":  {make([]byte, 8<<20), ""},
		"bomb":               {small, "gzip"},
		"large bomb":         {bomb.Bytes(), "gzip"},
	} {
		for _, http2 := range []bool{false, true} {
			c := client(t, http2)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range 5 {
				r, _ := http.NewRequest(http.MethodPost, s.url+getSession, bytes.NewReader(test.body))
				r.Header.Set("Content-Type", "application/proto")
				r.Header.Set("Authorization", "Bearer "+token)
				if test.encoding != "" {
					r.Header.Set("Content-Encoding", test.encoding)
				}
				response, err := c.Do(r)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				answer, _ := io.ReadAll(response.Body)
				_ = response.Body.Close()
				if response.StatusCode != http.StatusTooManyRequests || !bytes.Contains(answer, []byte(`"resource_exhausted"`)) || !bytes.Contains(answer, []byte("REQUEST_TOO_LARGE")) {
					t.Errorf("%s: %d %s", name, response.StatusCode, answer)
				}
			}
			runtime.ReadMemStats(&after)
			if each := (after.TotalAlloc - before.TotalAlloc) / 5; each > 8<<20 {
				t.Errorf("%s: %d bytes allocated for each", name, each)
			}
		}
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	t.Parallel()
	s := start(t, nil, func(o *server.Options) { o.MaxConnections = 2 })
	probe := func(c net.Conn) error {
		_ = c.SetDeadline(time.Now().Add(500 * time.Millisecond))
		_, _ = fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil {
			_ = r.Body.Close()
		}
		return err
	}
	first, second, third := dial(t, s), dial(t, s), dial(t, s)
	if err := errors.Join(probe(first), probe(second)); err != nil {
		t.Fatal(err)
	}
	if probe(third) == nil {
		t.Error("a third connection is served")
	}
	_ = first.Close()
	if err := probe(third); err != nil {
		t.Errorf("the third connection is not served after the first closed: %v", err)
	}
}
