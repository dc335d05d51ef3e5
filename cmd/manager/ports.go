package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/logicspike/manager/internal/config"
)

// ports are the listeners of the server. They are opened before anything else,
// so that a second start fails before it touches anything.
type ports struct {
	api   net.Listener
	admin net.Listener // nil when the setting is empty
}

func openPorts(s config.Settings) (ports, error) {
	api, err := listen("listen", s.Listen)
	if err != nil {
		return ports{}, err
	}
	p := ports{api: api}
	if s.AdminListen != "" {
		if p.admin, err = listen("admin-listen", s.AdminListen); err != nil {
			p.close()
			return ports{}, err
		}
	}
	return p, nil
}

// close may be called when the listeners are closed already.
func (p ports) close() {
	_ = p.api.Close()
	if p.admin != nil {
		_ = p.admin.Close()
	}
}

// listen listens on the address of a setting. Its errors name the address and the
// setting, and say what to do.
func listen(setting, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	instead := fmt.Sprintf("another address by --%s (%s)", setting, config.Variable(setting))
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use by another program; end that, or choose %s", address, instead)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("no permission to listen on %s; choose %s", address, instead)
	}
	return nil, fmt.Errorf("cannot listen on %s: %w; choose %s", address, err, instead)
}

// reachable returns the address of a listener as a person on this machine can use
// it: the host that was asked for, or localhost for all of them.
func reachable(l net.Listener, setting string) string {
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return setting
	}
	host, _, _ := net.SplitHostPort(setting)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
