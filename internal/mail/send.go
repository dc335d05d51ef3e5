package mail

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/mail"
	"strings"

	gomail "github.com/wneessen/go-mail"
)

// Sender delivers mails. It may be used by several goroutines at once.
type Sender interface {
	// Send delivers the mail, or takes over the responsibility for it, before
	// it returns nil. The error is an [ErrRejected] if trying again is of no
	// use.
	Send(ctx context.Context, m Rendered) error
}

// ErrRejected says that a mail will never be delivered: the address is no
// address, or the server refused it for good.
var ErrRejected = errors.New("mail rejected")

// compose makes the mail as it travels: a text and an HTML part, marked as
// written by a program so that nobody's out-of-office assistant answers it.
func compose(from mail.Address, m Rendered) (*gomail.Msg, error) {
	to, err := mail.ParseAddress(m.To)
	if err != nil || to.Name != "" {
		return nil, fmt.Errorf("%w: the recipient is no plain address", ErrRejected)
	}
	if strings.ContainsAny(m.Subject, "\r\n\x00") {
		return nil, fmt.Errorf("%w: the subject is not one line", ErrRejected)
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(&from)
	msg.ToMailAddress(to)
	msg.Subject(m.Subject)
	msg.SetDate()
	_, domain, _ := strings.Cut(from.Address, "@")
	msg.SetMessageIDWithValue(rand.Text() + "@" + domain) // the default would tell our host name
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader(gomail.HeaderXAutoResponseSuppress, "All")
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	return msg, nil
}

// parseFrom checks the sender's address.
func parseFrom(address, name string) (mail.Address, error) {
	from, err := mail.ParseAddress(address)
	if err != nil || from.Name != "" {
		return mail.Address{}, fmt.Errorf("mail: the sender %q is no plain address", address)
	}
	from.Name = cleanLine(name)
	return *from, nil
}
