package main

import (
	"net/http"
	"path/filepath"

	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/mail"
)

// newSender returns what mail is sent by. Without a mail server that is the
// mailbox for development, and pages show it; else pages is nil.
func newSender(s config.Settings) (sender mail.Sender, pages http.Handler, err error) {
	if s.SMTPHost == "" {
		mailbox, err := mail.NewMailbox(filepath.Join(s.DataDir, "mailbox"))
		if err != nil {
			return nil, nil, err
		}
		return mailbox, mailbox.Handler(), nil
	}
	smtp, err := mail.NewSMTP(mail.SMTPOptions{
		Host:        s.SMTPHost,
		Port:        s.SMTPPort,
		Username:    s.SMTPUsername,
		Password:    s.SMTPPassword.Reveal(),
		TLS:         mail.TLSPolicy(s.SMTPTLS),
		FromAddress: s.SMTPFrom,
		FromName:    s.FromName(),
	})
	return smtp, nil, err
}
