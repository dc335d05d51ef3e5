package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/logicspike/manager/internal/fault"
)

const (
	// MaxStreamMessages is how many messages a stream may have.
	MaxStreamMessages = 100_000
	// StreamTimeout is the longest that a call may take whose request is a stream.
	StreamTimeout = 30 * time.Minute
	// MessageTimeout is how long a client may take to send the next message of a
	// stream.
	MessageTimeout = 30 * time.Second
	// answerTime is how long a client may take to read the answer to a stream.
	answerTime = 30 * time.Second
)

// stopRetry is when a client whose stream was ended may try again.
const stopRetry = time.Second

// WrapStreamingHandler wraps the handler of a method whose request is a stream: the
// caller and the rule are decided before the first message is read. Each message has
// the limits of a request, and with each the caller is looked at again: what ends a
// session ends its streams.
func (i interceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		c := callFrom(ctx)
		if c == nil {
			c = &call{} // nobody reads it, and nothing but the error is sent
			i.options.Logger.ErrorContext(ctx, errUnwrapped.Error(), "procedure", conn.Spec().Procedure)
			return i.internal(c, errUnwrapped)
		}
		c.protocol = conn.Peer().Protocol
		ctx, cancel := context.WithTimeout(ctx, i.streamTimeout)
		defer cancel()
		s := &stream{StreamingHandlerConn: conn, interceptor: i, ctx: ctx, call: c, connection: http.NewResponseController(c.ResponseWriter)}
		err := s.serve(next)
		if err == nil && s.failure != nil {
			err = s.failure // the handler took no notice of it
		}
		if err == nil {
			return nil
		}
		s.hangUp()
		if s.failure != nil {
			// A read that fails ends the context; it is the failure that tells why.
			err, ctx = s.failure, context.WithoutCancel(ctx)
		}
		if made := (*unread)(nil); errors.As(err, &made) {
			return i.unreadable(c, made.code, made.message)
		}
		return i.refuse(ctx, c, err)
	}
}

// stream is the request of a call, message by message.
type stream struct {
	connect.StreamingHandlerConn
	interceptor
	ctx        context.Context
	call       *call
	connection *http.ResponseController
	messages   int
	failure    error // why no more is read
	whole      bool  // whether all has been read

	// Once the whole request is read, a deadline would end the call, and with
	// HTTP/1.1 the connection.
	mu      sync.Mutex
	reading bool
	stopped bool
}

// unread is why connect could not read a message.
type unread struct {
	code    connect.Code
	message string
}

func (u *unread) Error() string { return u.message }

// serve makes the call. A panic becomes an error.
func (s *stream) serve(next connect.StreamingHandlerFunc) (err error) {
	defer func() {
		if value := recover(); value != nil {
			if value == http.ErrAbortHandler {
				panic(value)
			}
			err = &panicked{value, debug.Stack()}
		}
	}()
	m := s.call.method
	if m == nil || !m.streams || m.procedure != s.Spec().Procedure {
		return errUnwrapped
	}
	if token, ok := keyOf(s.RequestHeader()); ok {
		key, err := s.authenticateKey(s.ctx, token)
		if err == nil {
			s.call.user, s.call.key, err = key.User, key.ID, errKeyNotAllowed() // no rule under which methods stream lets keys in
		}
		return err
	}
	session, err := s.authenticate(s.ctx, s.RequestHeader())
	if err != nil {
		return err
	}
	s.call.user = session.User
	ctx, err := s.authorize(s.ctx, m, session, nil)
	if err != nil {
		return err
	}
	_ = s.connection.SetWriteDeadline(time.Now().Add(s.streamTimeout + answerTime))
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-s.options.Stopping:
			s.stop()
		case <-ended:
		}
	}()
	return next(ctx, s)
}

// Receive reads the next message.
func (s *stream) Receive(message any) error {
	if s.failure == nil {
		if err := s.receive(message); errors.Is(err, io.EOF) {
			return err
		} else if err != nil {
			s.failure = err
		}
	}
	return s.failure
}

func (s *stream) receive(message any) error {
	if s.whole {
		return io.EOF
	}
	if !s.begin() {
		return errStopping()
	}
	err := s.StreamingHandlerConn.Receive(message)
	s.end()
	if err != nil {
		s.whole = errors.Is(err, io.EOF)
		return s.unread(err)
	}
	if s.messages++; s.messages > MaxStreamMessages {
		return fault.New(fault.ResourceExhausted, fault.RequestTooLarge, fmt.Sprintf("the stream has more than %d messages", MaxStreamMessages))
	}
	if s.messages > 1 {
		if err := s.lookAgain(); err != nil {
			return err
		}
	}
	request, ok := message.(proto.Message)
	if !ok {
		return errUnwrapped
	}
	return s.validator.validate(s.call.method, request)
}

// begin gives the next message its time. It reports false when the server stops.
func (s *stream) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.reading = true
	deadline := time.Now().Add(s.messageTimeout)
	if last, ok := s.ctx.Deadline(); ok && last.Before(deadline) {
		deadline = last
	}
	_ = s.connection.SetReadDeadline(deadline)
	return true
}

// end lifts the limit, until the next message.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = false
	_ = s.connection.SetReadDeadline(time.Time{})
}

// stop ends the waiting for a message.
func (s *stream) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	if s.reading {
		_ = s.connection.SetReadDeadline(time.Now())
	}
}

func (s *stream) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// hangUp gives up what is still being sent, which is not waited for, and with HTTP/1.1
// the connection.
func (s *stream) hangUp() {
	if s.whole {
		return
	}
	if !s.call.http1 {
		_ = s.connection.SetReadDeadline(time.Now())
		return
	}
	if !s.call.written {
		s.ResponseHeader().Set("Connection", "close")
	}
	s.call.linger = true
}

const (
	// lingerTime and lingerBytes bound what is still read of a stream that was refused.
	lingerTime  = time.Second
	lingerBytes = 1 << 20
)

// heldOpen is the body of a request whose stream may be refused before its end. It
// cannot be closed by who reads it.
type heldOpen struct{ io.ReadCloser }

func (heldOpen) Close() error { return nil }

// lingerOn reads on, for a moment, what is still sent of a stream that was refused by
// HTTP/1.1: a client whose connection is closed while it sends may not see the answer.
func (c *call) lingerOn(body io.Reader) {
	connection := http.NewResponseController(c.ResponseWriter)
	_ = connection.Flush()
	_ = connection.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, body, lingerBytes)
}

// lookAgain makes sure that the session still lives, and is an operator's where it has
// to be. That its sign-in was recent when the call began is enough.
func (s *stream) lookAgain() error {
	session, err := s.authenticate(s.ctx, s.RequestHeader())
	if err == nil && s.call.method.caller == operator {
		err = s.authorizeOperator(s.ctx, session)
	}
	return err
}

func errStopping() error {
	return fault.New(fault.Unavailable, fault.DatabaseUnavailable, "the server is stopping; try again").WithRetryAfter(stopRetry)
}

// unread returns why the next message could not be read; io.EOF when there is none.
func (s *stream) unread(err error) error {
	var large *http.MaxBytesError
	var made *connect.Error
	switch {
	case errors.Is(err, io.EOF):
		return err
	case s.isStopped():
		return errStopping()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return context.DeadlineExceeded
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	case errors.As(err, &large):
		return fault.New(fault.ResourceExhausted, fault.RequestTooLarge, fmt.Sprintf("the stream is larger than %d bytes", large.Limit))
	case errors.As(err, &made):
		return &unread{made.Code(), made.Message()}
	}
	return &unread{connect.CodeUnknown, err.Error()}
}

// Send sends the answer.
func (s *stream) Send(message any) error {
	if s.failure != nil {
		return s.failure
	}
	s.call.state = answered
	err := s.StreamingHandlerConn.Send(message)
	if err != nil && connect.CodeOf(err) != connect.CodeInternal { // not its encoding: nobody reads it any more
		return context.Canceled
	}
	return err
}
