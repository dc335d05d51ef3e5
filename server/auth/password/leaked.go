package password

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/logicspike/manager/internal/fault"
)

const (
	// leakTimeout is how long the service of leaked passwords may take.
	leakTimeout = 2 * time.Second
	// maxLeakBytes bounds its answer, which usually has some 40 KiB.
	maxLeakBytes = 1 << 20
	// leakPrefix is how many hexadecimal digits of a password's hash it is told.
	leakPrefix = 5
)

// Leaks asks a service whether a password was in a known leak, by the protocol of Have
// I Been Pwned: the service is told 5 of the 40 hexadecimal digits of the password's
// SHA-1, and answers with all leaked ones that begin so, and with others that say
// nothing, so that not even the size of the answer tells which were asked for.
//
// A service that cannot be asked keeps nobody from choosing a password.
type Leaks struct {
	url    string
	client *http.Client
	log    *slog.Logger
	failed atomic.Uint64
}

// NewLeaks returns the means to ask the service at a URL, such as
// https://api.pwnedpasswords.com/range. With "" nothing is asked.
func NewLeaks(url string, log *slog.Logger) *Leaks {
	if url == "" {
		return nil
	}
	return &Leaks{url: strings.TrimSuffix(url, "/"), log: log, client: &http.Client{
		Timeout:       leakTimeout,
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4, MaxConnsPerHost: 32, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Failed returns how often the service could not be asked.
func (l *Leaks) Failed() uint64 {
	if l == nil {
		return 0
	}
	return l.failed.Load()
}

// Check asks for a password, of a request's field. It takes no processor time to speak
// of, and up to two seconds.
//
// Errors: fault PASSWORD_LEAKED; the context's.
func (l *Leaks) Check(ctx context.Context, field, password string) error {
	if l == nil {
		return nil
	}
	leaked, err := l.ask(ctx, password)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		l.failed.Add(1)
		l.log.WarnContext(ctx, "a new password was not looked up among leaked ones", "error", err)
		return nil
	case leaked:
		return fault.New(fault.InvalidArgument, fault.PasswordLeaked,
			field+": was found in a leak of passwords; choose another one, and change it wherever else it is used").WithField(field)
	}
	return nil
}

func (l *Leaks) ask(ctx context.Context, password string) (leaked bool, err error) {
	sum := sha1.Sum([]byte(password))
	digits := strings.ToUpper(hex.EncodeToString(sum[:]))
	ctx, cancel := context.WithTimeout(ctx, leakTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+"/"+digits[:leakPrefix], nil)
	if err != nil {
		return false, err
	}
	request.Header.Set("Add-Padding", "true")
	request.Header.Set("User-Agent", "LogicSpike-Manager")
	response, err := l.client.Do(request)
	if err != nil {
		return false, errors.Unwrap(err) // not the URL, which has digits of the hash
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return false, fmt.Errorf("the service of leaked passwords answers %d", response.StatusCode)
	}
	body := &io.LimitedReader{R: response.Body, N: maxLeakBytes}
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		suffix, count, ok := strings.Cut(strings.TrimSpace(lines.Text()), ":")
		if !ok {
			return false, errors.New("the service of leaked passwords answers what is not understood")
		}
		if strings.EqualFold(suffix, digits[leakPrefix:]) && strings.Trim(count, "0") != "" { // 0: one that says nothing
			leaked = true
		}
	}
	if err := lines.Err(); err != nil {
		return false, err
	}
	if body.N == 0 {
		return false, errors.New("the service of leaked passwords answers too much")
	}
	return leaked, nil
}
