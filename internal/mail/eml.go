package mail

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"strings"
	"time"
)

// readMessage reads an .eml file that compose wrote. A mail that is not to the
// address given (if it is not empty) counts as not existing; only its header is
// read.
func readMessage(path, id, to string) (StoredMessage, error) {
	f, err := os.Open(path)
	if err != nil {
		return StoredMessage{}, err
	}
	defer f.Close()
	parsed, err := mail.ReadMessage(bufio.NewReader(f))
	if err != nil {
		return StoredMessage{}, fmt.Errorf("%s: %w", path, err)
	}
	m := StoredMessage{ID: id}
	if address, err := mail.ParseAddress(parsed.Header.Get("To")); err == nil {
		m.To = address.Address
	}
	if to != "" && !strings.EqualFold(m.To, to) {
		return StoredMessage{}, fs.ErrNotExist
	}
	stamp, _, _ := strings.Cut(id, "-")
	if m.Time, err = time.Parse(idTime, stamp); err != nil {
		return StoredMessage{}, err
	}
	if m.Subject, err = new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject")); err != nil {
		return StoredMessage{}, fmt.Errorf("%s: %w", path, err)
	}
	if err := m.readParts(parsed); err != nil {
		return StoredMessage{}, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func (m *StoredMessage) readParts(parsed *mail.Message) error {
	_, params, err := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	for parts := multipart.NewReader(parsed.Body, params["boundary"]); ; {
		part, err := parts.NextPart() // undoes quoted-printable
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return err
		}
		body := strings.ReplaceAll(string(content), "\r\n", "\n")
		if kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type")); kind == "text/html" {
			m.HTML = body
		} else {
			m.Text = body
		}
	}
}
