package main

import (
	"io"
	"log/slog"

	"github.com/logicspike/manager/internal/config"
)

// newLogger returns the logger that the settings ask for.
func newLogger(w io.Writer, s config.Settings) *slog.Logger {
	options := &slog.HandlerOptions{Level: s.LogLevel.Level()}
	if s.LogFormat == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
