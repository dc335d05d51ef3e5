package external

import (
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/logicspike/manager/internal/fault"
)

// maxReturnURL is the most bytes of a return URL.
const maxReturnURL = 2048

// ReturnURLs are where browsers may go in the end.
type ReturnURLs struct {
	// PublicURL is the server's own origin, each of whose paths is allowed.
	PublicURL string
	// Allowed are the others, exactly.
	Allowed []string
}

// Resolve returns the URL that a request asks for, with the server's own origin before
// a path.
//
// Errors: fault RETURN_URL_NOT_ALLOWED.
func (r ReturnURLs) Resolve(asked string) (string, error) {
	switch {
	case len(asked) <= maxReturnURL && slices.Contains(r.Allowed, asked):
		return asked, nil
	case isPath(asked):
		return r.PublicURL + asked, nil
	}
	return "", fault.New(fault.FailedPrecondition, fault.ReturnURLNotAllowed,
		"return_url: is neither one of the server's setting return-urls nor a path on its public URL").WithField("return_url")
}

// isPath reports whether a text is a path, perhaps with a query and a fragment, that no
// browser takes for anything else: browsers read \ as /, and skip some characters.
func isPath(s string) bool {
	if len(s) > maxReturnURL || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.Contains(s, `\`) ||
		strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r > unicode.MaxASCII }) {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil
}

// withQuery adds to the query of a URL, before its fragment.
func withQuery(to string, values url.Values) string {
	before, fragment, found := strings.Cut(to, "#")
	switch {
	case !strings.Contains(before, "?"):
		before += "?"
	case !strings.HasSuffix(before, "?") && !strings.HasSuffix(before, "&"):
		before += "&"
	}
	before += values.Encode()
	if found {
		before += "#" + fragment
	}
	return before
}
