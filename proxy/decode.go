package proxy

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// errEncoding ends an exchange whose answer cannot be looked through.
var errEncoding = errors.New("the answer's Content-Encoding is not one that the guard can decode")

// maxWindow bounds what decoding zstd holds: what RFC 9659 asks senders to keep
// to. Brotli's windows end at 16 MiB, gzip's at 32 KiB.
const maxWindow = 8 << 20

// decode is the body of a response without its encoding, or nil if it has none.
// The route has not offered any; some upstreams send what is stored with one all
// the same (S3 does). The header is made to fit: what was said of the encoded
// bytes does not hold for others. What it cannot decode it refuses.
func decode(res *http.Response) (io.ReadCloser, error) {
	var open func(io.Reader) (io.Reader, func(), error)
	switch strings.ToLower(strings.TrimSpace(strings.Join(res.Header["Content-Encoding"], ","))) {
	case "", "identity":
		return nil, nil
	case "gzip", "x-gzip":
		open = func(r io.Reader) (io.Reader, func(), error) {
			d, err := gzip.NewReader(r)
			return d, func() {}, err
		}
	case "br":
		open = func(r io.Reader) (io.Reader, func(), error) { return brotli.NewReader(r), func() {}, nil }
	case "zstd":
		open = func(r io.Reader) (io.Reader, func(), error) {
			d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
			if err != nil {
				return nil, nil, err
			}
			return d, d.Close, nil
		}
	default:
		return nil, errEncoding
	}
	if res.StatusCode == http.StatusPartialContent {
		return nil, errEncoding // a part of encoded bytes, which nobody asked for
	}
	for _, name := range []string{"Content-Encoding", "Content-Length", "Accept-Ranges", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
		delete(res.Header, name)
	}
	if tag := res.Header.Get("Etag"); strings.HasPrefix(tag, `"`) {
		res.Header.Set("Etag", "W/"+tag) // RFC 9110, section 8.8.1: the bytes are others
	}
	res.ContentLength = -1
	return &decodedBody{encoded: res.Body, open: open}, nil
}

// decodedBody decodes when it is read: some decoders read as soon as they exist.
type decodedBody struct {
	encoded io.ReadCloser
	open    func(io.Reader) (io.Reader, func(), error)
	decoder io.Reader
	release func()
	err     error
}

func (d *decodedBody) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	if d.decoder == nil {
		if d.decoder, d.release, d.err = d.open(d.encoded); d.err != nil {
			return 0, d.err
		}
	}
	n, err := d.decoder.Read(p)
	if err == io.EOF { // of what is encoded; trailers come after the end of the body
		if _, broken := io.Copy(io.Discard, d.encoded); broken != nil {
			err = broken
		}
	}
	d.err = err
	return n, err
}

func (d *decodedBody) Close() error {
	if d.decoder != nil && d.release != nil {
		d.release()
	}
	return d.encoded.Close()
}
