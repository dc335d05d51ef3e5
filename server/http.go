package server

import (
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"github.com/logicspike/manager/server/rpc"
)

const (
	// maxHeaderBytes is the size of a request's line and headers above which it is
	// refused. GET calls carry their message there.
	maxHeaderBytes = 16 << 10
	// maxBodyBytes is the size of a request's body above which its connection is
	// given up, whatever it asks for; a method's own limit is far lower.
	maxBodyBytes = 1 << 20
	// maxStreamBytes is the same for a method whose request is a stream: of each of its
	// messages a limit of its own is kept.
	maxStreamBytes = 256 << 20
	// maxStreams is how many calls may run at once on an HTTP/2 connection.
	maxStreams = 250
	// writeGrace is how long a client may take to read an answer.
	writeGrace = 30 * time.Second
)

// newHTTPServer returns the server of the public listener, which speaks HTTP/1.1
// and HTTP/2 without TLS (h2c, with prior knowledge) on the same port. Every wait
// for a client has an end: for headers, for bodies, for the reading of answers, and
// between requests. No answer is a stream that lasts, so that it can have its time as a
// whole; of a request that is a stream each message has a time of its own (see
// rpc.MessageTimeout).
func newHTTPServer(h http.Handler, o Options) *http.Server {
	return &http.Server{
		Handler:           h,
		Protocols:         cleartext(),
		ReadHeaderTimeout: o.ReadHeaderTimeout,
		ReadTimeout:       o.ReadTimeout,
		WriteTimeout:      o.ReadTimeout + o.RPC.RequestTimeout + writeGrace,
		IdleTimeout:       o.IdleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     128 << 10,
			SendPingTimeout:               30 * time.Second,
			PingTimeout:                   15 * time.Second,
			WriteByteTimeout:              writeGrace,
		},
		ErrorLog: slog.NewLogLogger(o.RPC.Logger.Handler(), slog.LevelWarn),
	}
}

func cleartext() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// limited returns the listener with a limit to its open connections.
func limited(l net.Listener, connections int) net.Listener {
	return netutil.LimitListener(l, connections)
}

// limitBodies gives up the connection of a request whose body is too large.
func limitBodies(next http.Handler, rules *rpc.Rules) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit := int64(maxBodyBytes)
		if rules.Streams(r.URL.Path) {
			limit = maxStreamBytes
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		next.ServeHTTP(w, r)
	})
}
