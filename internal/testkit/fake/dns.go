package fake

import (
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// DNS is a recursive DNS server on loopback, by UDP and TCP, that knows what a test
// tells it. Of other names it says that there are none.
type DNS struct {
	Address string // host:port

	ended    chan struct{} // closed when the test has ended
	mu       sync.Mutex
	names    map[string]dnsName
	asked    map[string]bool
	queries  int
	byStream int
}

type dnsName struct {
	code    int
	records []dns.RR
	held    <-chan struct{} // what is waited for before the answer; nil for nothing
}

// NewDNS starts a DNS server. It ends with the test.
func NewDNS(t testing.TB) *DNS {
	t.Helper()
	d := &DNS{names: map[string]dnsName{}, asked: map[string]bool{}, ended: make(chan struct{})}
	packets, stream := listenDNS(t)
	d.Address = packets.LocalAddr().String()
	for _, s := range []*dns.Server{{PacketConn: packets}, {Listener: stream}} {
		started, ended := make(chan struct{}), make(chan error, 1)
		s.Handler, s.NotifyStartedFunc = dns.HandlerFunc(d.serve), func() { close(started) }
		go func() { ended <- s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			if err := s.Shutdown(); err != nil {
				t.Errorf("end the DNS server: %v", err)
			}
			if err := <-ended; err != nil {
				t.Errorf("the DNS server ended with: %v", err)
			}
		})
	}
	t.Cleanup(func() { close(d.ended) })
	return d
}

// listenDNS listens on one port for both packets and connections.
func listenDNS(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 100 {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if stream, err := net.Listen("tcp", packets.LocalAddr().String()); err == nil {
			return packets, stream
		}
		_ = packets.Close() // somebody else has the port for connections
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil, nil
}

// Set sets all records of a name; without any, it has records of another type
// only.
func (d *DNS) Set(name string, records ...dns.RR) { d.set(name, dnsName{records: records}) }

// SetTXT sets TXT records of a name, as a person would: one for each value, cut
// into strings where it is too long for one.
func (d *DNS) SetTXT(name string, values ...string) {
	var records []dns.RR
	for _, value := range values {
		var parts []string
		for len(value) > 255 {
			parts, value = append(parts, value[:255]), value[255:]
		}
		records = append(records, TXT(name, append(parts, value)...))
	}
	d.Set(name, records...)
}

// Fail answers with a code, such as dns.RcodeServerFailure, to questions for a
// name.
func (d *DNS) Fail(name string, code int) { d.set(name, dnsName{code: code}) }

// Hold keeps the answers to questions for a name back, as they are now, until
// release is called, once.
func (d *DNS) Hold(name string) (release func()) {
	held := make(chan struct{})
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[dns.CanonicalName(name)]
	n.held = held
	d.names[dns.CanonicalName(name)] = n
	return func() { close(held) }
}

// Queries returns how many questions were asked, and how many of them by TCP.
func (d *DNS) Queries() (all, byStream int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.queries, d.byStream
}

// Asked reports whether a question for a name was asked.
func (d *DNS) Asked(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[dns.CanonicalName(name)]
}

// TXT returns one TXT record of one or more strings.
func TXT(name string, parts ...string) dns.RR {
	escaped := make([]string, len(parts))
	for i, part := range parts {
		escaped[i] = strings.ReplaceAll(part, `\`, `\\`)
	}
	return &dns.TXT{Hdr: dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: escaped}
}

func (d *DNS) set(name string, n dnsName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names[dns.CanonicalName(name)] = n
}

func (d *DNS) serve(w dns.ResponseWriter, query *dns.Msg) {
	_, byPacket := w.RemoteAddr().(*net.UDPAddr)
	name := dns.CanonicalName(query.Question[0].Name)
	d.mu.Lock()
	d.asked[name] = true
	d.queries++
	if !byPacket {
		d.byStream++
	}
	n, known := d.names[name]
	d.mu.Unlock()
	if n.held != nil {
		select {
		case <-n.held:
		case <-d.ended:
			return
		}
	}
	answer := new(dns.Msg).SetRcode(query, n.code)
	answer.RecursionAvailable, answer.Compress = true, true
	switch {
	case !known:
		answer.Rcode = dns.RcodeNameError
	case n.code == dns.RcodeSuccess:
		answer.Answer = n.records
	}
	if byPacket {
		size := dns.MinMsgSize
		if extension := query.IsEdns0(); extension != nil {
			size = int(extension.UDPSize())
		}
		answer.Truncate(size)
	}
	_ = w.WriteMsg(answer) // who asked may be gone
}
