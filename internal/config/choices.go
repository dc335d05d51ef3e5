package config

import "log/slog"

// EmailVerification says when a registration's e-mail address is proven.
type EmailVerification string

// The choices of EmailVerification.
const (
	VerifyBefore EmailVerification = "before" // the account begins when the address is proven
	VerifyAfter  EmailVerification = "after"  // the account begins at once
)

// CaptchaProvider is whose CAPTCHA people solve.
type CaptchaProvider string

// The choices of CaptchaProvider.
const (
	CaptchaNone      CaptchaProvider = "none"
	CaptchaTurnstile CaptchaProvider = "turnstile" // Cloudflare's
	CaptchaHCaptcha  CaptchaProvider = "hcaptcha"
	CaptchaReCAPTCHA CaptchaProvider = "recaptcha" // Google's
)

// SMTPTLS says whether mail is sent over TLS.
type SMTPTLS string

// The choices of SMTPTLS.
const (
	TLSMandatory     SMTPTLS = "mandatory"     // only over TLS
	TLSOpportunistic SMTPTLS = "opportunistic" // over TLS where it is offered
	TLSNone          SMTPTLS = "none"          // never over TLS
)

// LogLevel is the least important level that is logged.
type LogLevel string

// The choices of LogLevel.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

// Level returns the level in the terms of slog.
func (l LogLevel) Level() slog.Level {
	switch l {
	case LogDebug:
		return slog.LevelDebug
	case LogWarn:
		return slog.LevelWarn
	case LogError:
		return slog.LevelError
	}
	return slog.LevelInfo
}

// LogFormat is how lines are logged.
type LogFormat string

// The choices of LogFormat.
const (
	LogText LogFormat = "text" // for people
	LogJSON LogFormat = "json" // for programs
)
