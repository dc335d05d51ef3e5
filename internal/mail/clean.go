package mail

import (
	"regexp"
	"strings"
	"unicode"
)

// maxName is how many characters of a name a mail shows.
const maxName = 100

// cleanLine makes one line of plain text: control characters become spaces,
// invisible formatting characters (among them those that reverse the direction
// of what follows) go, and runs of spaces become one.
func cleanLine(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\u200C' || r == '\u200D' || r == wordJoiner:
			return r // joiners: scripts and emoji need them
		case unicode.Is(unicode.Cf, r):
			return -1
		case unicode.IsControl(r) || unicode.IsSpace(r):
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// cleanName makes a name that somebody chose fit to be shown in a mail to
// somebody else.
func cleanName(s string) string {
	s = cleanLine(strings.ReplaceAll(s, string(wordJoiner), ""))
	if runes := []rune(s); len(runes) > maxName {
		s = string(runes[:maxName-1]) + "…"
	}
	return linkLike.ReplaceAllString(s, "$1"+string(wordJoiner)+"$2")
}

// wordJoiner has no width and allows no line break.
const wordJoiner = '\u2060'

// linkLike finds what makes mail programs turn text into a link. Anybody can
// have a mail sent to anybody by registering with a foreign address; the name
// they choose must not become a link in it.
var linkLike = regexp.MustCompile(`([.:@])([\pL\pN/])`)
