package config

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"
)

// String returns all settings as name=value, secrets redacted.
func (s Settings) String() string {
	var b strings.Builder
	eachSetting(reflect.ValueOf(s), func(name string, value any) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s=%s", name, quoted(value))
	})
	return b.String()
}

// Format prints what String returns, whatever the verb.
func (s Settings) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// LogValue returns all settings as a group, secrets redacted.
func (s Settings) LogValue() slog.Value {
	var attrs []slog.Attr
	eachSetting(reflect.ValueOf(s), func(name string, value any) {
		attrs = append(attrs, slog.String(name, fmt.Sprint(value)))
	})
	return slog.GroupValue(attrs...)
}

// quoted returns the value, in quotes if it would otherwise not stand out as one
// word.
func quoted(value any) string {
	text := fmt.Sprint(value)
	if text == "" || strings.ContainsAny(text, " \"") {
		return fmt.Sprintf("%q", text)
	}
	return text
}

// eachSetting calls f for every setting of a settings struct, in order.
func eachSetting(settings reflect.Value, f func(name string, value any)) {
	for field, value := range settings.Fields() {
		if field.Anonymous {
			eachSetting(value, f)
			continue
		}
		f(field.Tag.Get("name"), value.Interface())
	}
}
