package mail

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// smtpServer is a small mail server on loopback. Set what it should do before
// the first connection.
type smtpServer struct {
	port     int
	config   *tls.Config // offers STARTTLS if not nil
	rcpt     string      // answer to RCPT, default 250
	dropQuit bool        // close the connection instead of answering QUIT
	hang     bool        // never greet

	mu       sync.Mutex
	received []received
}

type received struct {
	encrypted       bool
	login, from, to string
	data            string
}

// serve starts the server.
func (s *smtpServer) serve(t *testing.T) *smtpServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { s.talk(t, conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		conns.Wait()
	})
	return s
}

// testTLS returns the two sides of an encrypted connection to 127.0.0.1.
func testTLS(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	h := httptest.NewTLSServer(nil)
	t.Cleanup(h.Close)
	return &tls.Config{Certificates: h.TLS.Certificates},
		h.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
}

func (s *smtpServer) talk(t *testing.T, conn net.Conn) {
	defer func() { conn.Close() }()
	lines := bufio.NewReader(conn)
	say := func(text string) { fmt.Fprintf(conn, "%s\r\n", text) }
	var mail received
	if s.hang {
		_, _ = lines.ReadString('\n')
		return
	}
	say("220 test")
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			say("250-test")
			if s.config != nil && !mail.encrypted {
				say("250-STARTTLS")
			}
			say("250-8BITMIME")
			say("250 AUTH PLAIN")
		case "STARTTLS":
			say("220 go")
			secure := tls.Server(conn, s.config)
			if err := secure.Handshake(); err != nil {
				return
			}
			conn, lines, mail.encrypted = secure, bufio.NewReader(secure), true
		case "AUTH":
			text, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(rest, "PLAIN "))
			mail.login = strings.ReplaceAll(string(text), "\x00", "|")
			say("235 welcome")
		case "MAIL":
			mail.from = rest
			say("250 ok")
		case "RCPT":
			mail.to = rest
			if s.rcpt != "" {
				say(s.rcpt)
			} else {
				say("250 ok")
			}
		case "DATA":
			say("354 go")
			var data strings.Builder
			for {
				line, err := lines.ReadString('\n')
				if err != nil {
					t.Error(err)
					return
				}
				if line == ".\r\n" {
					break
				}
				data.WriteString(strings.TrimPrefix(line, "."))
			}
			mail.data = data.String()
			s.mu.Lock()
			s.received = append(s.received, mail)
			s.mu.Unlock()
			say("250 queued")
		case "QUIT":
			if !s.dropQuit {
				say("221 bye")
			}
			return
		default: // NOOP, RSET
			say("250 ok")
		}
	}
}

// only returns the one mail that was received.
func (s *smtpServer) only(t *testing.T) received {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.received) != 1 {
		t.Fatalf("%d mails were received, want 1", len(s.received))
	}
	return s.received[0]
}
