package rpc

import (
	"compress/gzip"
	"io"

	"connectrpc.com/connect"
)

// withBoundedGzip is connect's gzip with a reader that stops one byte behind the
// limit. Connect's own keeps the memory of a compressed bomb bounded, but reads
// it to its end, and so spends a thousand times the sender's effort.
func withBoundedGzip(limit int64) connect.HandlerOption {
	return connect.WithCompression("gzip",
		func() connect.Decompressor { return &boundedGzip{limit: limit} },
		func() connect.Compressor { return gzip.NewWriter(io.Discard) })
}

type boundedGzip struct {
	gzip.Reader
	limit, left int64
}

func (b *boundedGzip) Reset(r io.Reader) error {
	b.left = b.limit + 1
	return b.Reader.Reset(r)
}

func (b *boundedGzip) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, io.EOF
	}
	n, err := b.Reader.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
