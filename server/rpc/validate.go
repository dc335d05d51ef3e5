package rpc

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
)

// maxViolations is how many violations an error names: a response's headers hold
// only so much.
const maxViolations = 32

// violations is what is wrong with a request.
type violations []*errdetails.BadRequest_FieldViolation

// Error names the first few.
func (v violations) Error() string {
	const few = 3
	parts := make([]string, 0, few+1)
	for _, one := range v[:min(len(v), few)] {
		text := one.GetDescription()
		if one.GetField() != "" {
			text = one.GetField() + ": " + text
		}
		parts = append(parts, text)
	}
	if len(v) > few {
		parts = append(parts, fmt.Sprintf("and %d more", len(v)-few))
	}
	return strings.Join(parts, "; ")
}

// validator applies the rules that the protos declare for requests.
type validator struct {
	made func() (protovalidate.Validator, error)
}

// newValidator returns the validator. What it works by is made when the first request
// comes, and the rules of a request are compiled when one of its kind first comes:
// those of all methods take more memory than the rest of an idle server. That all of
// them compile is for the tests to see.
func newValidator() *validator {
	return &validator{sync.OnceValues(func() (protovalidate.Validator, error) { return protovalidate.New() })}
}

// Validate applies the rules of a message.
func (v *validator) Validate(message proto.Message) error {
	made, err := v.made()
	if err != nil {
		return err
	}
	return made.Validate(message)
}

// validate returns the violations of the request, or another error when a rule
// cannot be applied to it.
func (v *validator) validate(m *method, request proto.Message) error {
	if path, found := m.text.violation(request.ProtoReflect()); found {
		return violations{violation(path, "must not contain control characters")}
	}
	err := v.Validate(request)
	if err == nil {
		return nil
	}
	var invalid *protovalidate.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	list := make(violations, 0, min(len(invalid.Violations), maxViolations))
	for _, one := range invalid.Violations[:min(len(invalid.Violations), maxViolations)] {
		description := one.Proto.GetMessage()
		if description == "" {
			description = "does not keep the rule " + one.Proto.GetRuleId()
		}
		list = append(list, violation(protovalidate.FieldPathString(one.Proto.GetField()), description))
	}
	return list
}

func violation(path, description string) *errdetails.BadRequest_FieldViolation {
	return &errdetails.BadRequest_FieldViolation{Field: shorten(path), Description: shorten(description)}
}

// shorten cuts what a caller may have made long: the key of a map in a path.
func shorten(s string) string {
	const limit = 256
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
