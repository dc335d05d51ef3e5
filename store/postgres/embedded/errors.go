package embedded

import (
	"errors"
	"fmt"
)

var (
	// ErrInUse says that another manager uses the data folder.
	ErrInUse = errors.New("data folder is in use")

	// ErrVersion says that the available server programs are too old, or of
	// another major version than the data.
	ErrVersion = errors.New("unsuitable PostgreSQL version")

	// ErrAccess says that the user that the server runs as cannot get at its
	// files.
	ErrAccess = errors.New("no access")
)

// InUseError is the [ErrInUse] that names who is in the way.
type InUseError struct {
	Dir string
	PID int // 0 if it could not be read
}

func (e *InUseError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("data folder %s is in use by another manager", e.Dir)
	}
	return fmt.Sprintf("data folder %s is in use by the manager with process id %d", e.Dir, e.PID)
}

// Is makes errors.Is(err, ErrInUse) true.
func (e *InUseError) Is(target error) bool { return target == ErrInUse }

// kindError is a message for people that programs can tell apart
// by errors.Is.
type kindError struct {
	kind error
	text string
}

func (e *kindError) Error() string { return e.text }
func (e *kindError) Unwrap() error { return e.kind }

func versionError(format string, args ...any) error {
	return &kindError{ErrVersion, fmt.Sprintf(format, args...)}
}

func accessError(format string, args ...any) error {
	return &kindError{ErrAccess, fmt.Sprintf(format, args...)}
}
