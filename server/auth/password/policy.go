package password

import (
	"fmt"
	"strings"
	"unicode"
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
	maxWords = 32
	maxWord  = 254
	// minWord is the least length of a word that a password must not be made of, and
	// minOwn how many characters it must have beside such words.
	minWord = 3
	minOwn  = 8
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
// It refuses the 10 000 most common passwords of at least 12 characters, whatever
// their case (OWASP ASVS 5.0, 6.2.4 asks for 3000 that the policy of lengths allows);
// what is made of the user's address and names and of the context, also in the
// spelling that puts digits for letters, and fewer than 8 characters beside; and
// what zxcvbn, with 30 000 common passwords and 80 000 words and names, finds in less
// than a million guesses.
//
// Errors: fault PASSWORD_COMMON.
func (p Policy) CheckStrength(field, password string, about ...string) error {
	words := p.words(about)
	if isCommon(password) || madeOf(password, words) {
		return errCommon(field)
	}
	head := password
	if runes := []rune(password); len(runes) > judged {
		head = string(runes[:judged])
	}
	// No guesses at all is how the library says that it lost count, as it does with
	// some scripts.
	if r := zxcvbn.PasswordStrength(head, words); r.Guesses > 0 && r.Score < minScore {
		return errCommon(field)
	}
	return nil
}

func errCommon(field string) error {
	return fault.New(fault.InvalidArgument, fault.PasswordCommon, field+": is too easily guessed; choose another one").WithField(field)
}

// words are the context and what is told about the user, each as a whole and in its
// parts, in small letters.
func (p Policy) words(about []string) []string {
	var words []string
	for _, text := range append(append([]string{}, p.Context...), about...) {
		text = strings.ToLower(text)
		if len(text) > maxWord {
			text = strings.ToValidUTF8(text[:maxWord], "")
		}
		parts := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) })
		words = append(words, text)
		if len(parts) > 1 || len(parts) == 1 && parts[0] != text {
			words = append(words, parts...)
		}
		if len(parts) > 1 {
			words = append(words, strings.Join(parts, ""))
		}
	}
	return words[:min(len(words), maxWords)]
}

// madeOf reports whether little is left of a password without the words.
func madeOf(password string, words []string) bool {
	left, found := plain(password), false
	for _, word := range words {
		if word = plain(word); utf8.RuneCountInString(word) >= minWord && strings.Contains(left, word) {
			left, found = strings.ReplaceAll(left, word, " "), true
		}
	}
	own := 0
	for _, r := range left {
		if !unicode.IsSpace(r) {
			own++
		}
	}
	return found && own < minOwn
}

// plain is text in small letters, where digits and signs that stand for letters are
// those, and letters that are easily taken for each other are one.
func plain(text string) string { return lookalikes.Replace(strings.ToLower(text)) }

var lookalikes = strings.NewReplacer(
	"0", "o", "1", "i", "l", "i", "!", "i", "|", "i", "3", "e", "4", "a", "@", "a", "5", "s", "$", "s", "7", "t", "+", "t", "8", "b", "9", "g", "6", "g", "2", "z",
)
