package client_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"

	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
)

// fault is what becomes of a request on its way to the server.
type fault func(w http.ResponseWriter, r *http.Request, forward http.Handler)

// lost lets the call have its effect, and loses the answer.
func lost(_ http.ResponseWriter, r *http.Request, forward http.Handler) {
	forward.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// cut loses the second half of the answer.
func cut(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	r.Header.Del("Accept-Encoding")
	answer := httptest.NewRecorder()
	forward.ServeHTTP(answer, r)
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// never loses the request.
func never(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }

// gateway is what a proxy answers whose server is gone.
func gateway(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	http.Error(w, "bad gateway", http.StatusBadGateway)
}

// refused is an answer of the server itself: an error that says after how long to try
// again, or does not for 0.
func refused(code connect.Code, reason faultv1.Reason, after time.Duration) fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		err := connect.NewError(code, io.EOF)
		info, _ := connect.NewErrorDetail(&errdetails.ErrorInfo{
			Reason: strings.TrimPrefix(reason.String(), "REASON_"), Domain: "manager.logicspike",
		})
		err.AddDetail(info)
		if after != 0 {
			retry, _ := connect.NewErrorDetail(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
			err.AddDetail(retry)
		}
		_ = connect.NewErrorWriter().Write(w, r, err)
	}
}

// network is what lies between a client and the server.
type network struct {
	*httptest.Server

	mu     sync.Mutex
	faults map[string][]fault // of the next calls, by method; nil in the list for none
	calls  map[string][]time.Time
}

// newNetwork leads to a server by HTTP/1.1 and HTTP/2.
func newNetwork(t *testing.T, to string) *network {
	t.Helper()
	n := &network{faults: map[string][]fault{}, calls: map[string][]time.Time{}}
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = target.Host },
		Transport: func() *http.Transport {
			transport := &http.Transport{Protocols: new(http.Protocols)}
			transport.Protocols.SetUnencryptedHTTP2(true)
			return transport
		}(),
	}
	n.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		n.mu.Lock()
		n.calls[method] = append(n.calls[method], time.Now())
		var next fault
		if list := n.faults[method]; len(list) > 0 {
			next, n.faults[method] = list[0], list[1:]
		}
		n.mu.Unlock()
		if next == nil {
			forward.ServeHTTP(w, r)
			return
		}
		next(w, r, forward)
	}))
	n.Config.Protocols = new(http.Protocols)
	n.Config.Protocols.SetHTTP1(true)
	n.Config.Protocols.SetUnencryptedHTTP2(true)
	n.Start()
	t.Cleanup(n.Close)
	return n
}

// fail says what becomes of the next calls of a method.
func (n *network) fail(method string, list ...fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults[method], n.calls[method] = list, nil
}

// times returns when a method was called.
func (n *network) times(method string) []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls[method]
}
