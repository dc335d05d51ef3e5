// Package dns asks the domain name system.
package dns

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/logicspike/manager/internal/fault"
)

// Options are the settings of a Resolver.
type Options struct {
	// Server is the host:port of the server to ask. Default: those of this machine.
	Server string
	// Timeout is how long an answer is waited for. Default: 5 seconds.
	Timeout time.Duration
}

// Resolver asks a recursive DNS server. Nothing is cached here.
type Resolver struct {
	net     net.Resolver
	timeout time.Duration
}

// New returns a resolver.
func New(o Options) *Resolver {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	r := &Resolver{net: net.Resolver{PreferGo: true}, timeout: o.Timeout}
	if o.Server != "" {
		r.net.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, o.Server)
		}
	}
	return r
}

// TXT returns the TXT records of a name, each with its strings joined; none when
// there is no such name, or it has none.
//
// Errors: fault DNS_UNAVAILABLE when no server answers in time, or none can tell.
func (r *Resolver) TXT(ctx context.Context, name string) ([]string, error) {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	// The dot at the end keeps the machine's search list out.
	records, err := r.net.LookupTXT(ctx, name+".")
	if err == nil {
		return records, nil
	}
	if failure, ok := errors.AsType[*net.DNSError](err); ok && failure.IsNotFound {
		return nil, nil
	}
	if caller.Err() != nil {
		return nil, caller.Err()
	}
	return nil, fault.New(fault.Unavailable, fault.DNSUnavailable, "DNS does not answer for now; try again").
		WithRetryAfter(10 * time.Second).WithCause(err)
}
