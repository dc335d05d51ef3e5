package dns_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/testkit/fake"
	"github.com/logicspike/manager/server/tenant/dns"
)

const name = "_challenge.example.com"

func TestRecordsAreRead(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 60)
	var many []string
	for i := range 400 {
		many = append(many, fmt.Sprintf("record %d: %s", i, long[:100]))
	}
	for title, test := range map[string]struct {
		records []miekg.RR
		want    []string
		stream  bool // whether the answer is too large for a packet
	}{
		"one":                       {records: []miekg.RR{fake.TXT(name, "value")}, want: []string{"value"}},
		"several":                   {records: []miekg.RR{fake.TXT(name, "a"), fake.TXT(name, "b")}, want: []string{"a", "b"}},
		"one of several strings":    {records: []miekg.RR{fake.TXT(name, "one ", "and", " the same")}, want: []string{"one and the same"}},
		"one that is empty":         {records: []miekg.RR{fake.TXT(name, "")}, want: []string{""}},
		"spaces and other bytes":    {records: []miekg.RR{fake.TXT(name, ` "a\ ü `)}, want: []string{` "a\ ü `}},
		"none but of another type":  {},
		"one too long for a string": {records: []miekg.RR{fake.TXT(name, long[:255], long[255:510], long[510:])}, want: []string{long}},
		"behind an alias": {
			records: []miekg.RR{
				&miekg.CNAME{Hdr: miekg.RR_Header{Name: miekg.Fqdn(name), Rrtype: miekg.TypeCNAME, Class: miekg.ClassINET}, Target: "elsewhere.example.net."},
				fake.TXT("elsewhere.example.net", "value"),
			},
			want: []string{"value"},
		},
		"too many for a packet": {records: records(many), want: many, stream: true},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			server := fake.NewDNS(t)
			server.Set(name, test.records...)
			got, err := dns.New(dns.Options{Server: server.Address}).TXT(t.Context(), name)
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("%d records %.200q, %v, want %d", len(got), got, err, len(test.want))
			}
			if _, streams := server.Queries(); (streams > 0) != test.stream {
				t.Errorf("%d questions by TCP", streams)
			}
		})
	}
}

func records(values []string) []miekg.RR {
	var list []miekg.RR
	for _, value := range values {
		list = append(list, fake.TXT(name, value))
	}
	return list
}

func TestANameThatIsNotThereHasNoRecords(t *testing.T) {
	t.Parallel()
	server := fake.NewDNS(t)
	got, err := dns.New(dns.Options{Server: server.Address}).TXT(t.Context(), name)
	if err != nil || len(got) != 0 {
		t.Errorf("%q, %v", got, err)
	}
	if queries, _ := server.Queries(); queries != 1 {
		t.Errorf("%d questions were asked, want 1: this name, and no other", queries)
	}
}

func TestWhoCannotTellIsUnavailable(t *testing.T) {
	t.Parallel()
	for title, code := range map[string]int{
		"SERVFAIL": miekg.RcodeServerFailure, "REFUSED": miekg.RcodeRefused, "NOTIMP": miekg.RcodeNotImplemented, "FORMERR": miekg.RcodeFormatError,
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			server := fake.NewDNS(t)
			server.Fail(name, code)
			unavailable(t, dns.New(dns.Options{Server: server.Address}))
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		closed, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := closed.Close(); err != nil {
			t.Fatal(err)
		}
		unavailable(t, dns.New(dns.Options{Server: closed.LocalAddr().String()}))
	})
	t.Run("no answer", func(t *testing.T) {
		t.Parallel()
		server := fake.NewDNS(t)
		defer server.Hold(name)()
		began := time.Now()
		unavailable(t, dns.New(dns.Options{Server: server.Address, Timeout: 50 * time.Millisecond}))
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("it was waited for %v, not 50 ms", took)
		}
	})
	t.Run("half an answer", func(t *testing.T) {
		t.Parallel()
		silent, err := net.ListenPacket("udp", "127.0.0.1:0") // says that there is more by TCP, where nobody listens
		if err != nil {
			t.Fatal(err)
		}
		s := &miekg.Server{PacketConn: silent, Handler: miekg.HandlerFunc(func(w miekg.ResponseWriter, q *miekg.Msg) {
			answer := new(miekg.Msg).SetReply(q)
			answer.Truncated, answer.RecursionAvailable = true, true
			_ = w.WriteMsg(answer)
		})}
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { _ = s.ActivateAndServe() }()
		<-started
		defer func() { _ = s.Shutdown() }()
		unavailable(t, dns.New(dns.Options{Server: silent.LocalAddr().String()}))
	})
}

func unavailable(t *testing.T, r *dns.Resolver) {
	t.Helper()
	got, err := r.TXT(t.Context(), name)
	if f := fault.As(err); f == nil || f.Reason != fault.DNSUnavailable || f.Kind != fault.Unavailable || f.RetryAfter <= 0 || f.Unwrap() == nil {
		t.Errorf("%q, %v, want DNS_UNAVAILABLE with a cause and a time to retry", got, err)
	}
}

func TestACallThatEndsIsNotAFailureOfDNS(t *testing.T) {
	t.Parallel()
	server := fake.NewDNS(t)
	defer server.Hold(name)()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := dns.New(dns.Options{Server: server.Address, Timeout: time.Second}).TXT(ctx, name)
		result <- err
	}()
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		if asked, _ := server.Queries(); asked > 0 {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal("the question never came")
		}
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) || fault.As(err) != nil {
		t.Errorf("%v, want that the call was canceled, and no more", err)
	}
}
