package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/logicspike/manager/internal/fault"
)

// Constraints maps the names of constraints to the faults that their violation
// means.
type Constraints map[string]*fault.Fault

// Fault turns an error of the database into the fault it means: a violated
// constraint by its name, a lost connection into `unavailable`. Other errors,
// and faults, are returned as they are.
func (c Constraints) Fault(err error) error {
	if err == nil || fault.As(err) != nil {
		return err
	}
	if name := Constraint(err); name != "" {
		if f, ok := c[name]; ok {
			return f.WithCause(err)
		}
		return err
	}
	switch {
	case Retryable(err):
		return fault.New(fault.Aborted, fault.Conflict, "another call changed the same data; try again").
			WithRetryAfter(time.Second).WithCause(err)
	case lost(err):
		return fault.New(fault.Unavailable, fault.DatabaseUnavailable, "the database cannot be reached; try again").
			WithRetryAfter(time.Second).WithCause(err)
	}
	return err
}

// Constraint returns the name of the constraint that err says was violated, or
// "".
func Constraint(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && strings.HasPrefix(pg.Code, "23") {
		return pg.ConstraintName
	}
	return ""
}

// Retryable reports whether the whole transaction may be run again: it lost
// against another one (serialization_failure, deadlock_detected).
func Retryable(err error) bool {
	code := sqlState(err)
	return code == "40001" || code == "40P01"
}

// NotFound reports whether a query for one row found none.
func NotFound(err error) bool {
	return errors.Is(err, sql.ErrNoRows) || errors.Is(err, pgx.ErrNoRows)
}

// OrNil returns the row that a query for one row read, or nil when it found none.
func OrNil[T any](row *T, err error) (*T, error) {
	if NotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return row, nil
}

// OrMissing is OrNil for a row that has to be there.
//
// Errors: fault NOT_FOUND.
func OrMissing[T any](row *T, err error) (*T, error) {
	row, err = OrNil(row, err)
	if err == nil && row == nil {
		err = fault.NotFoundFault()
	}
	return row, err
}

func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// lost reports whether err says that the server, or the connection to it, is
// gone, or that it takes no more.
func lost(err error) bool {
	if code := sqlState(err); code != "" {
		switch code {
		case "57P01", "57P02", "57P03", "53300", "55P03": // shut down, crashed, starting, too many connections, lock timeout
			return true
		}
		return strings.HasPrefix(code, "08")
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, sql.ErrConnDone) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		pgconn.SafeToRetry(err) || strings.Contains(err.Error(), "conn closed")
}
