package team

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"

	"github.com/logicspike/manager/internal/ids"
)

// Members are found by the beginnings of words. The words of each member are the
// lexemes of a tsvector, behind the workspace's id: so one GIN index answers for
// one workspace alone, whatever the size of the others. No dictionary is involved:
// names are in any language.

// Keys are what a member of a workspace is sorted and found by.
type Keys struct {
	Name, Address string
	Terms         []string // the lexemes
}

// KeysOf returns the keys of a member.
func KeysOf(workspace ids.Workspace, displayName, addressKey string) Keys {
	k := Keys{Name: fold(displayName), Address: addressKey}
	for _, word := range terms(displayName, addressKey) {
		k.Terms = append(k.Terms, lexemePrefix(workspace)+word)
	}
	return k
}

// lexemePrefix is what the lexemes of a workspace begin with.
func lexemePrefix(workspace ids.Workspace) string {
	return strings.ReplaceAll(workspace.UUID().String(), "-", "") + "/"
}

// fold returns the form of a text in which case and accents don't matter.
func fold(s string) string {
	folded, _, err := transform.String(transform.Chain(norm.NFKD, runes.Remove(runes.In(unicode.Mn)), norm.NFC), s)
	if err != nil {
		folded = s // never: the transformers accept any text
	}
	return strings.ToLower(folded)
}

// terms returns the words by whose beginnings a member is found: those of the name,
// with and without what is between letters and digits, and the address and its
// parts.
func terms(displayName, addressKey string) []string {
	var list []string
	for _, word := range strings.Fields(fold(displayName)) {
		list = append(list, word)
		list = append(list, strings.FieldsFunc(word, between)...)
	}
	if local, domain, ok := strings.Cut(addressKey, "@"); ok {
		list = append(list, addressKey, domain)
		list = append(list, strings.FieldsFunc(local, between)...)
	}
	return list
}

func between(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }

// quote writes a lexeme in a tsquery.
var quote = strings.NewReplacer(`'`, `''`, `\`, `\\`)

// maxWords is how many different words of a search count.
const maxWords = 8

// query returns the tsquery for what is searched in a workspace, or "" for nothing.
func query(workspace ids.Workspace, search string) string {
	var words []string
	fields := slices.Compact(slices.Sorted(slices.Values(strings.Fields(fold(search)))))
	for _, word := range fields[:min(len(fields), maxWords)] {
		words = append(words, "'"+quote.Replace(lexemePrefix(workspace)+word)+"':*")
	}
	return strings.Join(words, " & ")
}
