package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"testing"

	"google.golang.org/protobuf/proto"
)

// connection is a client that costs nearly nothing: one keep-alive connection of
// HTTP/1.1, on which requests are written by hand.
type connection struct {
	conn   net.Conn
	reader *bufio.Reader
	body   []byte
}

// dial opens connections. They end with the benchmark.
func dial(b *testing.B, address string, count int) []*connection {
	b.Helper()
	list := make([]*connection, count)
	for i := range list {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close() })
		list[i] = &connection{conn: conn, reader: bufio.NewReader(conn)}
	}
	return list
}

// request writes a call of the Connect protocol. headers are lines.
func request(path string, message proto.Message, headers ...string) []byte {
	body, err := proto.Marshal(message)
	if err != nil {
		panic(err) // never fails: the message is ours
	}
	var r bytes.Buffer
	fmt.Fprintf(&r, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/proto\r\nConnect-Protocol-Version: 1\r\nContent-Length: %d\r\n",
		path, len(body))
	for _, h := range headers {
		r.WriteString(h + "\r\n")
	}
	r.WriteString("\r\n")
	r.Write(body)
	return r.Bytes()
}

var (
	wellDone      = []byte("HTTP/1.1 200 ")
	contentLength = []byte("Content-Length: ")
	chunked       = []byte("Transfer-Encoding: chunked")
)

// call sends a request and reads its answer, which must be a success.
func (c *connection) call(request []byte) error {
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	status, err := c.reader.ReadSlice('\n')
	if err != nil {
		return err
	}
	ok := bytes.HasPrefix(status, wellDone)
	var problem string
	if !ok {
		problem = string(bytes.TrimSpace(status))
	}
	length, inChunks := -1, false
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		inChunks = inChunks || bytes.HasPrefix(line, chunked)
		if value, found := bytes.CutPrefix(line, contentLength); found {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	c.body = c.body[:0]
	switch {
	case inChunks:
		err = c.readChunks()
	case length < 0:
		err = fmt.Errorf("an answer without a length: %s", status)
	default:
		err = c.read(length)
	}
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%s: %s", problem, c.body)
	}
	return nil
}

// read reads so much more of the body.
func (c *connection) read(length int) error {
	had := len(c.body)
	c.body = slices.Grow(c.body, length)[:had+length]
	_, err := io.ReadFull(c.reader, c.body[had:])
	return err
}

// readChunks reads a body in chunks (RFC 9112, 7.1), without trailers.
func (c *connection) readChunks() error {
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		length, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return err
		}
		if err := c.read(int(length)); err != nil {
			return err
		}
		if _, err := c.reader.Discard(len("\r\n")); err != nil || length == 0 {
			return err
		}
	}
}
