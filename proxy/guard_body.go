package proxy

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/vaultspan/vaultspan/vault"
)

// blockMost is the longest body that a route that blocks reads before it passes
// the header on, so that the caller is told of an echo in it.
const blockMost = 64 << 10

// body makes a response's body one that is looked through.
func (w *watch) body(res *http.Response) error {
	body := &guardedBody{body: res.Body, watch: w, stream: w.guard.Stream(), of: res, left: res.ContentLength}
	if w.x.in.Method != http.MethodHead && res.StatusCode != http.StatusNoContent && res.StatusCode != http.StatusNotModified {
		decoded, err := decode(res)
		if err != nil {
			return err
		}
		if decoded != nil {
			body.body, body.left = decoded, -1
		}
	}
	res.Body = body
	if w.blocks() && !isStream(res.Header) {
		return body.begin()
	}
	return nil
}

// isStream says whether a body may begin long after its header, which whoever
// reads it waits for.
func isStream(h http.Header) bool {
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return kind == "text/event-stream" || strings.HasPrefix(kind, "application/grpc")
}

// guardedBody is a body without the credential. What may be the beginning of one
// waits for what follows as long as that was promised; else only from its fourth
// byte on, because the caller may have to act on what there is.
type guardedBody struct {
	body   io.ReadCloser
	watch  *watch
	stream *vault.Stream
	of     *http.Response
	left   int64 // bytes that were promised; -1: nobody knows
	ready  []byte
	err    error // comes after ready
}

func (b *guardedBody) Read(p []byte) (int, error) {
	for len(b.ready) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		n, err := b.body.Read(p)
		b.scan(p[:n], err)
	}
	n := copy(p, b.ready)
	b.ready = b.ready[n:]
	return n, nil
}

// scan takes what was read, and what came with it.
func (b *guardedBody) scan(piece []byte, err error) {
	b.err = err
	edge := vault.Pause
	if b.left >= 0 {
		edge = vault.Inside
		if b.left -= int64(len(piece)); b.left <= 0 {
			edge = vault.End
		}
	}
	if err == io.EOF {
		edge = vault.End
	}
	out, found := b.stream.Scan(piece, edge)
	b.ready = out
	if found {
		b.fail(b.watch.saw(inBody))
	}
	if err == io.EOF {
		b.fail(b.watch.fields(b.of.Trailer, inTrailer))
	}
}

// fail ends the body, without what came last.
func (b *guardedBody) fail(err error) {
	if err != nil {
		b.ready, b.err = nil, err
	}
}

// begin reads a short body whole, and of any other what there is at first.
func (b *guardedBody) begin() error {
	size := blockMost
	if 0 <= b.left && b.left < blockMost {
		size = int(b.left) + 1 // and its end
	}
	first, n := make([]byte, size), 0
	for n < len(first) {
		got, err := b.Read(first[n:])
		n += got
		if errors.Is(err, errReflected) {
			return err
		}
		if err != nil || b.left < 0 && n > 0 || b.left+int64(n) > blockMost {
			break // a broken body breaks off for the caller too
		}
	}
	b.ready = append(first[:n], b.ready...)
	return nil
}

func (b *guardedBody) Close() error { return b.body.Close() }

// webSocket makes the upstream's side of a switched connection one whose messages
// are looked through.
func (w *watch) webSocket(res *http.Response) {
	if side, ok := res.Body.(io.ReadWriteCloser); ok {
		res.Body = &guardedSocket{ReadWriteCloser: side, watch: w, frames: w.guard.Frames()}
	}
}

// guardedSocket is an upstream's side of a WebSocket without the credential.
type guardedSocket struct {
	io.ReadWriteCloser
	watch  *watch
	frames *vault.Frames
	ready  []byte
	err    error // comes after ready
}

func (s *guardedSocket) Read(p []byte) (int, error) {
	for len(s.ready) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		n, err := s.ReadWriteCloser.Read(p)
		s.err = err
		s.scan(p[:n], err)
	}
	n := copy(p, s.ready)
	s.ready = s.ready[n:]
	return n, nil
}

func (s *guardedSocket) scan(piece []byte, readErr error) {
	out, found, err := s.frames.Scan(piece)
	if err != nil {
		s.watch.cancel(cut{upstreamInvalid})
	} else if readErr != nil {
		out = slices.Clone(out) // End says what comes after it in its stead
		rest, more := s.frames.End()
		out, found = append(out, rest...), found || more
	}
	s.ready = out
	if found {
		err = errors.Join(err, s.watch.saw(inFrame))
	}
	if err != nil {
		s.ready, s.err = nil, err
	}
}
