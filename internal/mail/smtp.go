package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"slices"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// TLSPolicy says whether the connection to a mail server must be encrypted.
type TLSPolicy string

const (
	TLSMandatory     TLSPolicy = "mandatory"     // never send without (the default)
	TLSOpportunistic TLSPolicy = "opportunistic" // encrypt if the server can
	TLSNone          TLSPolicy = "none"          // do not encrypt
)

// SMTPOptions says how to reach a mail server. Host and FromAddress are
// required.
type SMTPOptions struct {
	Host string
	Port int // default 587; on 465 the connection is encrypted from its first byte

	// Username and Password are used if the name is not empty, by the best
	// method that the server offers; none that shows the password is used on a
	// connection that is not encrypted.
	Username string
	Password string

	TLS       TLSPolicy   // default TLSMandatory
	TLSConfig *tls.Config // default: the system's certificate authorities

	FromAddress string
	FromName    string

	Timeout time.Duration // of each step of a delivery; default 15 s
}

// SMTP delivers mails to a mail server, over a connection of its own for each.
type SMTP struct {
	host    string
	options []gomail.Option
	wrapped bool // encrypted from the first byte
	from    mail.Address
}

// NewSMTP checks the options; it does not connect.
func NewSMTP(o SMTPOptions) (*SMTP, error) {
	from, err := parseFrom(o.FromAddress, o.FromName)
	if err != nil {
		return nil, err
	}
	if o.Port == 0 {
		o.Port = 587
	}
	if o.Timeout == 0 {
		o.Timeout = 15 * time.Second
	}
	options := []gomail.Option{gomail.WithPort(o.Port), gomail.WithTimeout(o.Timeout)}
	switch o.TLS {
	case TLSMandatory, "":
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case TLSOpportunistic:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	case TLSNone:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		return nil, fmt.Errorf("mail: unknown TLS policy %q (mandatory, opportunistic or none)", o.TLS)
	}
	wrapped := o.Port == 465 && o.TLS != TLSNone
	if wrapped {
		options = append(options, gomail.WithSSL())
	}
	if o.TLSConfig != nil {
		config := o.TLSConfig.Clone()
		if config.ServerName == "" {
			config.ServerName = o.Host
		}
		options = append(options, gomail.WithTLSConfig(config))
	}
	if o.Username != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover),
			gomail.WithUsername(o.Username), gomail.WithPassword(o.Password))
	}
	if _, err := gomail.NewClient(o.Host, options...); err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	return &SMTP{host: o.Host, options: options, wrapped: wrapped, from: from}, nil
}

// Send returns nil once the server has accepted the mail, also if the
// connection breaks right after that: trying again would deliver it twice.
func (s *SMTP) Send(ctx context.Context, m Rendered) error {
	msg, err := compose(s.from, m)
	if err != nil {
		return err
	}
	options := s.options
	if !s.wrapped { // else the library insists on its own dialer
		var d dialer
		defer d.close()
		options = append(slices.Clip(options), gomail.WithDialContextFunc(d.dial(ctx)))
	}
	client, err := gomail.NewClient(s.host, options...)
	if err != nil {
		return fmt.Errorf("send mail: %w", err)
	}
	err = client.DialAndSendWithContext(ctx, msg)
	if err == nil || msg.IsDelivered() {
		return nil
	}
	var refused *gomail.SendError
	if errors.As(err, &refused) && !refused.IsTemp() && refused.ErrorCode() >= 500 {
		return fmt.Errorf("%w: %w", ErrRejected, err)
	}
	return fmt.Errorf("send mail: %w", err)
}

// dialer remembers a connection, so that it can be closed when the delivery is
// over or not wanted any more. The library does neither: it leaves connections
// open on which encryption or sign-in failed, and heeds a context only while it
// connects.
type dialer struct {
	conn net.Conn
	stop func() bool
}

func (d *dialer) dial(delivery context.Context) gomail.DialContextFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		d.conn = conn
		d.stop = context.AfterFunc(delivery, func() { conn.Close() })
		return conn, nil
	}
}

func (d *dialer) close() {
	if d.conn != nil {
		d.stop()
		d.conn.Close()
	}
}
