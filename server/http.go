package server

import (
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

const (
	// maxHeaderBytes is the size of a request's line and headers above which it is
	// refused. GET calls carry their message there.
	maxHeaderBytes = 16 << 10
	// maxBodyBytes is the size of a request's body above which its connection is
	// given up, whatever it asks for; a method's own limit is far lower.
	maxBodyBytes = 1 << 20
	// maxStreams is how many calls may run at once on an HTTP/2 connection.
	maxStreams = 250
	// writeGrace is how long a client may take to read an answer.
	writeGrace = 30 * time.Second
)

// newHTTPServer returns the server of the public listener, which speaks HTTP/1.1
// and HTTP/2 without TLS (h2c, with prior knowledge) on the same port. Every wait
// for a client has an end: for headers, for bodies, for the reading of answers, and
// between requests. No call is a stream that lasts, so that an answer as a whole
// can have its time.
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
