package testkit

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/logicspike/manager/store"
)

// secrets are what the log of a server must not contain: what looks like a secret of
// the product, whatever its value, and what is known to be one.
type secrets struct {
	mu    sync.Mutex
	known map[string]bool
}

// leastSecret is the length below which a password is not looked for: a log may contain
// it by chance.
const leastSecret = 8

func (s *secrets) add(list ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]bool{}
	}
	for _, secret := range list {
		if len(secret) >= leastSecret {
			s.known[secret] = true
		}
	}
}

// shapes are the forms by which secrets are known.
var shapes = map[string]*regexp.Regexp{
	"a token":                          regexp.MustCompile(`\blsm[a-z]_[A-Za-z0-9_-]{20,}`),
	"a JSON Web Token":                 regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.`),
	"a password's hash":                regexp.MustCompile(`\$(argon2(id|i|d)|2[aby]|pbkdf2[a-z0-9-]*|scrypt)\$`),
	"the URI of an authenticator app":  regexp.MustCompile(`otpauth://`),
	"the seed of an authenticator app": regexp.MustCompile(`\b[A-Z2-7]{32}\b`), // a request id has 26 characters
	"a recovery code":                  regexp.MustCompile(`\b[0-9a-hjkmnp-tv-z]{5}(-[0-9a-hjkmnp-tv-z]{5}){3}-[0-9a-hjkmnp-tv-z]{6}\b`),
	"a private key":                    regexp.MustCompile(`PRIVATE KEY|"d":"`),
	"an Authorization header":          regexp.MustCompile(`\b(Bearer|Basic) [A-Za-z0-9+/_-]{12,}`),
}

// sixAlone are six digits that are no part of a longer word, nor of a fraction.
var sixAlone = regexp.MustCompile(`(?:^|[^0-9A-Za-z.+])([0-9]{6})\b`)

// in returns what of the secrets a log contains, without telling them. The codes are of
// six digits.
func (s *secrets) in(log string, codes []string) []string {
	var found []string
	for name, shape := range shapes {
		if match := shape.FindStringIndex(log); match != nil {
			found = append(found, name+": "+lineAround(log, match[0], match[1]))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for secret := range s.known {
		if at := strings.Index(log, secret); at >= 0 {
			found = append(found, "a password or a key: "+lineAround(log, at, at+len(secret)))
		}
	}
	if len(codes) > 0 {
		for _, match := range sixAlone.FindAllStringSubmatchIndex(log, -1) {
			if slices.Contains(codes, log[match[2]:match[3]]) {
				found = append(found, "a mailed code: "+lineAround(log, match[2], match[3]))
			}
		}
	}
	slices.Sort(found)
	return found
}

// lineAround returns the line of a secret, which is left out.
func lineAround(log string, from, to int) string {
	begin := strings.LastIndexByte(log[:from], '\n') + 1
	end := len(log)
	if i := strings.IndexByte(log[to:], '\n'); i >= 0 {
		end = to + i
	}
	line := log[begin:from] + "[HERE]" + log[to:end]
	return line[:min(len(line), 400)]
}

// mailedCodes returns the codes that were mailed, or wait to be.
func (s *Server) mailedCodes() []string {
	var codes []string
	mailed, err := s.Mailbox.List(1000)
	if err == nil {
		for _, m := range mailed {
			codes = append(codes, sixDigits.FindAllString(m.Text, -1)...)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	rows, err := s.SQL.Query(ctx, "SELECT args FROM river.river_job WHERE kind = 'mail' AND state <> 'completed' ORDER BY id DESC LIMIT 100")
	if err != nil {
		return codes // the test has broken the database
	}
	waiting, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return codes
	}
	for _, args := range waiting {
		var job store.MailJob
		if json.Unmarshal(args, &job) != nil {
			continue
		}
		if m, err := s.Store.Letter(ctx, job); err == nil && m != nil && m.Data["code"] != "" {
			codes = append(codes, m.Data["code"])
		}
	}
	return codes
}

// Secret has the test fail if the server logs one of these. Known by themselves are all
// tokens, codes that are mailed, hashes, keys, and the passwords that Client's clients
// send.
func (s *Server) Secret(list ...string) { s.secrets.add(list...) }

// checkLog fails the test if the log contains a secret.
func (s *Server) checkLog(t testing.TB, codes []string) {
	if found := s.secrets.in(s.Log.String(), codes); len(found) > 0 {
		t.Errorf("the server has logged secrets:\n%s", strings.Join(found, "\n"))
	}
}

// noticing is what tells the secrets in the requests of a client.
func (s *Server) noticing() connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			if message, ok := req.Any().(proto.Message); ok {
				s.notice(message.ProtoReflect())
			}
			return next(ctx, req)
		}
	}
}

func (s *Server) notice(m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsList() || field.IsMap():
		case field.Kind() == protoreflect.MessageKind:
			s.notice(value.Message())
		case field.Kind() == protoreflect.StringKind && strings.Contains(string(field.Name()), "password") && !strings.HasSuffix(string(field.Name()), "_id"):
			s.secrets.add(value.String())
		}
		return true
	})
}
