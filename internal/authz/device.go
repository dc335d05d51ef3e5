package authz

import (
	"fmt"
	"io"
	"log/slog"
)

// How clients keep the token of their device: browsers in a cookie, whose prefix is
// that of CookieName's, programs as they like.
const (
	DeviceCookieName = "__Host-manager_device"
	DeviceHeader     = "Device-Token"
)

// DeviceToken is the token of a device: a browser or a program from which somebody has
// signed in. It does not sign in. However it is printed or logged, it shows only
// whether there is one.
type DeviceToken string

// Reveal returns the token itself.
func (d DeviceToken) Reveal() string { return string(d) }

// String returns "[redacted]", or nothing if there is no token.
func (d DeviceToken) String() string {
	if d == "" {
		return ""
	}
	return "[redacted]"
}

// Format prints what String returns, whatever the verb.
func (d DeviceToken) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, d.String()) }

// LogValue returns what String returns.
func (d DeviceToken) LogValue() slog.Value { return slog.StringValue(d.String()) }

// MarshalText returns what String returns.
func (d DeviceToken) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
