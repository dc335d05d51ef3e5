package store_test

import (
	"fmt"
	"time"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/auth"
)

// exerciseDevices calls what is about known devices.
func exerciseDevices(e *exercise, m module, user ids.User) {
	e.t.Helper()
	other, _ := m.seed(e.t, "devices@example.com")
	token := func(name string) secret.Hash { return secret.HashOf("test", name) }
	device := func(user ids.User, name string, at time.Time) *auth.Device {
		hash := token(name)
		return &auth.Device{ID: ids.New[ids.Device](), UserID: user, TokenHash: hash[:], UserAgent: "test", CreateTime: at, LastUseTime: at}
	}
	yesterday := now.Add(-24 * time.Hour)

	e.want(false, "DeviceKnown", user, token("browser"), now)
	e.want(false, "DeviceIssued", token("browser"))
	e.want(1, "InsertDevice", device(user, "browser", now), yesterday)
	e.want(true, "DeviceKnown", user, token("browser"), now)
	e.want(true, "DeviceIssued", token("browser"))
	e.want(false, "DeviceKnown", other, token("browser"), now)
	e.want(false, "TouchDevice", other, token("browser"), "new", now)
	e.want(true, "TouchDevice", user, token("browser"), "new", now.Add(time.Hour))

	// One browser, two accounts.
	e.want(1, "InsertDevice", device(other, "browser", now), yesterday)
	e.want(true, "DeviceKnown", other, token("browser"), now)

	// The same device twice is one.
	e.want(1, "InsertDevice", device(user, "browser", now.Add(2*time.Hour)), yesterday)

	// A program that keeps no token is new each time: the browser, which came back, is
	// kept in spite of it.
	for i := range 30 {
		e.want(min(i+2, 20), "InsertDevice", device(user, fmt.Sprint("program ", i), now.Add(time.Duration(3+i)*time.Hour)), yesterday)
	}
	e.want(true, "DeviceKnown", user, token("browser"), now)
	e.want(false, "DeviceKnown", user, token("program 10"), now)
	e.want(true, "DeviceKnown", user, token("program 11"), now)
	e.want(true, "DeviceKnown", user, token("program 29"), now)

	// A year later it is a stranger's again.
	late := now.Add(2*time.Hour + 365*24*time.Hour)
	e.want(true, "DeviceKnown", user, token("browser"), late.Add(-time.Second))
	e.want(false, "DeviceKnown", user, token("browser"), late)
	e.want(false, "TouchDevice", user, token("browser"), "late", late)
	e.call("DeleteUnusedDevices", late.Add(time.Second))
	e.want(false, "DeviceIssued", token("browser"))

	e.call("DeleteDevices", user, token("program 29"))
	e.want(true, "DeviceKnown", user, token("program 29"), now)
	e.want(false, "DeviceKnown", user, token("program 28"), now)
	e.call("DeleteDevices", user, secret.Hash{})
	e.want(false, "DeviceIssued", token("program 29"))
}
