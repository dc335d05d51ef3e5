package password

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/trustelem/zxcvbn"

	"github.com/logicspike/manager/internal/fault"
)

// Policy judges new passwords, by NIST SP 800-63B-4, 3.1.1.2: a least length, no
// rules of composition, and none that is commonly used or follows from who the
// user is.
type Policy struct {
	MinLength int // in characters; default 12
	MaxLength int // in characters; default 128
	// Context are words that a password must not be made of: the product's name.
	Context []string
}

const (
	// minScore is zxcvbn's for at least a million guesses: more than are allowed
	// on line in years, and what keeps variants of common passwords out.
	minScore = 2
	// judged is how many characters are looked at: what is long enough to be safe
	// by them needs no more, and the time it takes grows with their square.
	judged = 32
	// maxWords and maxWord bound what follows from who the user is.
	maxWords = 24
	maxWord  = 64
)

// CheckLength judges the length of a password, of a request's field.
//
// Errors: fault PASSWORD_LENGTH.
func (p Policy) CheckLength(field, password string) error {
	least, most := p.MinLength, p.MaxLength
	if least == 0 {
		least = 12
	}
	if most == 0 {
		most = 128
	}
	if n := utf8.RuneCountInString(password); n < least || n > most {
		return fault.New(fault.InvalidArgument, fault.PasswordLength,
			fmt.Sprintf("%s: must have %d to %d characters", field, least, most)).WithField(field).
			WithMetadata("min_length", fmt.Sprint(least)).WithMetadata("max_length", fmt.Sprint(most))
	}
	return nil
}

// CheckStrength judges how easily a password is guessed, for a user whose address
// and names are given. It takes up to some milliseconds of processor time.
//
// Errors: fault PASSWORD_COMMON.
func (p Policy) CheckStrength(field, password string, about ...string) error {
	var words []string
	for _, text := range append(about, p.Context...) {
		if len(text) > maxWord {
			text = text[:maxWord]
		}
		words = append(words, text)
		words = append(words, strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" @.-_+", r) })...)
	}
	words = words[:min(len(words), maxWords)]
	head := password
	if runes := []rune(password); len(runes) > judged {
		head = string(runes[:judged])
	}
	// No guesses at all is how the library says that it lost count, as it does with
	// some scripts.
	if r := zxcvbn.PasswordStrength(head, words); r.Guesses > 0 && r.Score < minScore {
		return fault.New(fault.InvalidArgument, fault.PasswordCommon, field+": is too easily guessed; choose another one").WithField(field)
	}
	return nil
}
