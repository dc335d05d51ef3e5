package rpc

import (
	"strconv"
	"unicode"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// textFields is which fields of a message hold strings, directly or deeper, so
// that a call looks at nothing else.
type textFields struct{ fields []textField }

type textField struct {
	protoreflect.FieldDescriptor
	text   bool        // its value, or each of its values, is a string
	keys   bool        // it is a map whose keys are strings
	nested *textFields // of its value, or each of its values, when that is a message
}

// textFieldsOf returns the fields of a message, or nil when it can hold no
// string. Messages may be recursive; known holds those already looked at.
func textFieldsOf(message protoreflect.MessageDescriptor, known map[protoreflect.FullName]*textFields) *textFields {
	if !holdsText(message, map[protoreflect.FullName]bool{}) {
		return nil
	}
	if t, ok := known[message.FullName()]; ok {
		return t
	}
	t := &textFields{}
	known[message.FullName()] = t
	for i := range message.Fields().Len() {
		f := textField{FieldDescriptor: message.Fields().Get(i)}
		value := f.FieldDescriptor
		if f.IsMap() {
			f.keys = f.MapKey().Kind() == protoreflect.StringKind
			value = f.MapValue()
		}
		f.text = value.Kind() == protoreflect.StringKind
		if value.Message() != nil {
			f.nested = textFieldsOf(value.Message(), known)
		}
		if f.text || f.keys || f.nested != nil {
			t.fields = append(t.fields, f)
		}
	}
	return t
}

func holdsText(message protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) bool {
	if seen[message.FullName()] {
		return false
	}
	seen[message.FullName()] = true
	for i := range message.Fields().Len() {
		f := message.Fields().Get(i)
		if f.Kind() == protoreflect.StringKind || f.Message() != nil && holdsText(f.Message(), seen) {
			return true
		}
	}
	return false
}

// violation finds a string that has a forbidden character, and returns its path.
func (t *textFields) violation(message protoreflect.Message) (path string, found bool) {
	if t == nil {
		return "", false
	}
	for i := range t.fields {
		f := &t.fields[i]
		if !message.Has(f.FieldDescriptor) {
			continue
		}
		value := message.Get(f.FieldDescriptor)
		switch {
		case f.IsMap():
			path, found = f.inMap(value.Map())
		case f.IsList():
			path, found = f.inList(value.List())
		default:
			path, found = f.inValue(value)
		}
		if found {
			return string(f.Name()) + path, true
		}
	}
	return "", false
}

// inValue returns the part of the path that follows the value's own.
func (f *textField) inValue(value protoreflect.Value) (string, bool) {
	if f.text {
		return "", !clean(value.String())
	}
	path, found := f.nested.violation(value.Message())
	return "." + path, found
}

func (f *textField) inList(list protoreflect.List) (string, bool) {
	for i := range list.Len() {
		if path, found := f.inValue(list.Get(i)); found {
			return "[" + strconv.Itoa(i) + "]" + path, true
		}
	}
	return "", false
}

func (f *textField) inMap(m protoreflect.Map) (path string, found bool) {
	m.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
		if f.keys && !clean(key.String()) {
			path, found = "["+strconv.QuoteToASCII(key.String())+"]", true
		} else if f.text || f.nested != nil {
			if path, found = f.inValue(value); found {
				name := key.String()
				if f.keys {
					name = strconv.Quote(name)
				}
				path = "[" + name + "]" + path
			}
		}
		return !found
	})
	return path, found
}

// clean reports whether the string has no character that is forbidden.
func clean(s string) bool {
	if plainASCII(s) {
		return true
	}
	for _, r := range s {
		if forbidden(r) {
			return false
		}
	}
	return true
}

func plainASCII(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// forbidden reports whether the character may be in no string: control
// characters, NUL among them, and those that turn the direction of what follows.
func forbidden(r rune) bool {
	return unicode.IsControl(r) || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
