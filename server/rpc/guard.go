package rpc

import (
	"io"
	"net/http"
)

// guarded is the body of a request to a method that accepts larger ones than others:
// more than MaxRequestBytes, or anything that is compressed and so may become more, is
// read only of who is signed in or calls by an API key. Otherwise whoever is nobody
// could make the server hold as much.
type guarded struct {
	io.ReadCloser
	left  int64 // that anybody may send
	check func() error
	known bool
}

// guard returns the body of a request that is guarded.
func (s *Stack) guard(r *http.Request, c *call) io.ReadCloser {
	g := &guarded{ReadCloser: r.Body, left: MaxRequestBytes}
	for _, name := range []string{"Content-Encoding", "Connect-Content-Encoding", "Grpc-Encoding"} {
		if encoding := r.Header.Get(name); encoding != "" && encoding != "identity" {
			g.left = 0
		}
	}
	g.check = func() (err error) {
		if token, ok := keyOf(r.Header); ok {
			_, err = s.authenticateKey(r.Context(), token)
		} else {
			_, err = s.authenticate(r.Context(), r.Header)
		}
		c.denied = err
		return err
	}
	return g
}

// Read implements io.Reader.
func (g *guarded) Read(p []byte) (int, error) {
	if g.known {
		return g.ReadCloser.Read(p)
	}
	if g.left == 0 {
		if err := g.check(); err != nil {
			return 0, err
		}
		g.known = true
		return g.ReadCloser.Read(p)
	}
	n, err := g.ReadCloser.Read(p[:min(int64(len(p)), g.left)])
	g.left -= int64(n)
	return n, err
}
