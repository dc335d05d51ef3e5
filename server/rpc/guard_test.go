package rpc_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/gen/go/logicspike/billing/v1/billingv1connect"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/rpc"
)

// counted counts how much of a body is read.
type counted struct {
	io.Reader
	read int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += n
	return n, err
}

func (*counted) Close() error { return nil }

// TestALargerRequestIsReadOnlyOfWhoIsKnown: a method that declares larger requests than
// others gets them, and no larger ones; but of whoever is nobody the server reads no
// more than of a request to any other method.
func TestALargerRequestIsReadOnlyOfWhoIsKnown(t *testing.T) {
	ring := &keyring{key: &authz.Key{ID: ids.New[ids.APIKey](), Workspace: ids.New[ids.Workspace](), User: ids.New[ids.User]()}}
	w := newWorld(t, func(o *rpc.Options) { o.Keys = ring })
	rules, err := rpc.Compile(billingv1connect.UsageServiceName)
	if err != nil {
		t.Fatal(err)
	}
	stack, err := rpc.New(rules, w.options)
	if err != nil {
		t.Fatal(err)
	}
	_, handler := stack.Mount(func(o ...connect.HandlerOption) (string, http.Handler) {
		return billingv1connect.NewUsageServiceHandler(billingv1connect.UnimplementedUsageServiceHandler{}, o...)
	})
	const kib = 1 << 10
	spaces := func(n int) string {
		return `{"workspaceId": "x"` + strings.Repeat(" ", n-len(`{"workspaceId": "x"}`)) + `}`
	}
	batch, single := billingv1connect.UsageServiceBatchRecordUsageProcedure, billingv1connect.UsageServiceRecordUsageProcedure
	for name, test := range map[string]struct {
		procedure, token, body, encoding string
		want                             string // in the answer
		most                             int    // that is read
	}{
		"signed in":            {batch, token, spaces(512 * kib), "", `not the id of a workspace`, 512 * kib},
		"by a key":             {batch, keyToken, spaces(512 * kib), "", `not the id of a workspace`, 512 * kib},
		"larger than declared": {batch, token, spaces(512*kib + 1), "", `the request is larger than 524288 bytes`, 512*kib + 1},
		"compressed":           {batch, token, zipped(spaces(512 * kib)), "gzip", `not the id of a workspace`, 512 * kib},
		"a bomb":               {batch, token, zipped(spaces(10 << 20)), "gzip", `the request is larger than 524288 bytes`, 512 * kib},
		"nobody, small":        {batch, "", spaces(60 * kib), "", `"SESSION_REQUIRED"`, 60 * kib},
		"nobody":               {batch, "", spaces(512 * kib), "", `"SESSION_REQUIRED"`, 64 * kib},
		"a wrong token":        {batch, token + "x", spaces(512 * kib), "", `"SESSION_REQUIRED"`, 64 * kib},
		"a wrong key":          {batch, keyToken + "x", spaces(512 * kib), "", `"SESSION_REQUIRED"`, 64 * kib},
		"nobody, compressed":   {batch, "", zipped(spaces(512 * kib)), "gzip", `"SESSION_REQUIRED"`, 0},
		"another method":       {single, token, spaces(64 * kib), "", `not the id of a workspace`, 64 * kib},
		"another, larger":      {single, token, spaces(64*kib + 1), "", `the request is larger than 65536 bytes`, 64*kib + 1},
	} {
		body := &counted{Reader: strings.NewReader(test.body)}
		r := httptest.NewRequest(http.MethodPost, test.procedure, body)
		r.Header.Set("Content-Type", "application/json")
		if test.token != "" {
			r.Header.Set("Authorization", "Bearer "+test.token)
		}
		if test.encoding != "" {
			r.Header.Set("Content-Encoding", test.encoding)
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, r)
		if !strings.Contains(answer.Body.String(), test.want) || body.read > test.most {
			t.Errorf("%s: %d bytes of %d were read, and the answer is %d %s", name, body.read, len(test.body), answer.Code, answer.Body)
		}
	}
	// A failure of the database is told as such.
	w.failure = fault.New(fault.Unavailable, fault.DatabaseUnavailable, "not now")
	r := httptest.NewRequest(http.MethodPost, batch, strings.NewReader(spaces(512*kib)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, r)
	if answer.Code != http.StatusServiceUnavailable || !strings.Contains(answer.Body.String(), `"UNAVAILABLE"`) {
		t.Errorf("without a database: %d %s", answer.Code, answer.Body)
	}
}
