package mail

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// mailboxSize is how many mails a mailbox keeps at least; the oldest go first.
	mailboxSize = 1000
	// trimEvery is after how many new mails it looks which are too much.
	trimEvery = 64
)

// Mailbox is a [Sender] for development: it keeps mails as .eml files in a
// folder, where a person or a test can read them. See [Mailbox.Handler].
type Mailbox struct {
	dir string

	mu        sync.Mutex
	last      time.Time // of the newest mail, so that names are in order
	untrimmed int       // mails since it was last trimmed
}

// StoredMessage is a mail in a mailbox.
type StoredMessage struct {
	ID      string    `json:"id"`
	To      string    `json:"to"`
	Subject string    `json:"subject"`
	Text    string    `json:"text"`
	HTML    string    `json:"-"`
	Time    time.Time `json:"time"`
}

// ErrNoMessage says that a mailbox has no mail of that id (any more).
var ErrNoMessage = errors.New("no such mail")

// NewMailbox returns the mailbox in a folder, which it makes, with mode 0700, if
// it is missing. Mails of earlier runs are still in it.
func NewMailbox(dir string) (*Mailbox, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("mailbox: %w", err)
	}
	return &Mailbox{dir: dir}, nil
}

const (
	mailSuffix = ".eml"
	idTime     = "20060102T150405.000000000Z"
)

var idPattern = regexp.MustCompile(`^\d{8}T\d{6}\.\d{9}Z-[A-Z2-7]{8}$`)

// Send writes the mail into the folder. A reader sees all of it or nothing.
func (b *Mailbox) Send(_ context.Context, m Rendered) error {
	from, err := parseFrom("noreply@localhost", "Development mailbox")
	if err != nil {
		return err
	}
	msg, err := compose(from, m)
	if err != nil {
		return err
	}
	var content bytes.Buffer
	if _, err := msg.WriteTo(&content); err != nil {
		return fmt.Errorf("mailbox: %w", err)
	}
	if err := b.store(content.Bytes()); err != nil {
		return fmt.Errorf("mailbox: %w", err)
	}
	return nil
}

func (b *Mailbox) store(content []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	f, err := os.CreateTemp(b.dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails if all went well
	_, err = f.Write(content)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	now := time.Now().UTC()
	if !now.After(b.last) {
		now = b.last.Add(time.Nanosecond)
	}
	b.last = now
	id := now.Format(idTime) + "-" + rand.Text()[:8]
	if err := os.Rename(f.Name(), filepath.Join(b.dir, id+mailSuffix)); err != nil {
		return err
	}
	if b.untrimmed++; b.untrimmed < trimEvery {
		return nil
	}
	b.untrimmed = 0
	return b.trim()
}

// trim removes what is too much.
func (b *Mailbox) trim() error {
	ids, err := b.ids()
	if err != nil {
		return err
	}
	for len(ids) > mailboxSize {
		oldest := ids[len(ids)-1]
		if err := os.Remove(b.path(oldest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		ids = ids[:len(ids)-1]
	}
	return nil
}

// ids lists the mails, the newest first.
func (b *Mailbox) ids() ([]string, error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, entry := range slices.Backward(entries) {
		id, isMail := strings.CutSuffix(entry.Name(), mailSuffix)
		if isMail && idPattern.MatchString(id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func (b *Mailbox) path(id string) string { return filepath.Join(b.dir, id+mailSuffix) }

// List returns up to limit mails, the newest first.
func (b *Mailbox) List(limit int) ([]StoredMessage, error) {
	return b.list(limit, "")
}

// list returns up to limit mails to one address, or to any if it is empty.
func (b *Mailbox) list(limit int, to string) ([]StoredMessage, error) {
	ids, err := b.ids()
	if err != nil {
		return nil, fmt.Errorf("mailbox: %w", err)
	}
	list := []StoredMessage{}
	for _, id := range ids {
		if len(list) >= limit {
			break
		}
		m, err := readMessage(b.path(id), id, to)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since we looked, or to somebody else
		}
		if err != nil {
			return nil, fmt.Errorf("mailbox: %w", err)
		}
		list = append(list, m)
	}
	return list, nil
}

// Get returns one mail, or [ErrNoMessage].
func (b *Mailbox) Get(id string) (StoredMessage, error) {
	if !idPattern.MatchString(id) {
		return StoredMessage{}, ErrNoMessage
	}
	m, err := readMessage(b.path(id), id, "")
	if errors.Is(err, fs.ErrNotExist) {
		return StoredMessage{}, ErrNoMessage
	}
	if err != nil {
		return StoredMessage{}, fmt.Errorf("mailbox: %w", err)
	}
	return m, nil
}
