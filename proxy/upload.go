package proxy

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// request watches the caller's body, and bounds it.
func (f *flow) request(body io.ReadCloser) io.ReadCloser {
	if body == nil || body == http.NoBody {
		return body
	}
	f.body = &upload{source: http.MaxBytesReader(nil, body, int64(f.x.route.MaxBody)), flow: f}
	if f.x.lease != nil && len(f.x.route.Rotation.Refused) > 0 {
		f.body.limit = int(f.x.route.Rotation.Resend)
	}
	f.body.turn = &sending{of: f.body}
	return f.body.turn
}

// resend is the caller's body for a second attempt, from its first byte. It is
// false when more was read of it than is kept, or when the caller may be waiting
// for an answer before it sends more.
func (f *flow) resend() (io.ReadCloser, bool) {
	u := f.body
	if u == nil {
		return nil, true
	}
	switch {
	case f.x.in.ContentLength >= 0:
		u.mu.Lock() // what is being read was promised
	case !u.mu.TryLock():
		return nil, false
	}
	defer u.mu.Unlock()
	if u.lost || u.limit == 0 || u.over {
		return nil, false
	}
	u.turn = &sending{of: u}
	return u.turn, true
}

// upload is the caller's body, of which the beginning is kept as long as it may
// be sent again.
type upload struct {
	source io.ReadCloser
	flow   *flow
	limit  int // of what is kept

	mu    sync.Mutex // held while reading
	turn  *sending   // the one that may read
	kept  []byte
	lost  bool  // more was read than is kept
	ended error // what the source said last
	over  bool
}

// sending is the upload as one attempt sends it.
type sending struct {
	of *upload
	at int // of what is kept
}

// Read implements io.Reader. An attempt whose turn is over reads nothing more.
func (s *sending) Read(p []byte) (int, error) {
	u := s.of
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over || u.turn != s {
		return 0, http.ErrBodyReadAfterClose
	}
	if s.at < len(u.kept) {
		n := copy(p, u.kept[s.at:])
		s.at += n
		u.flow.sent.Add(int64(n))
		return n, nil
	}
	if u.ended != nil {
		return 0, u.ended
	}
	n, err := u.read(p)
	s.at += n
	return n, err
}

// Close does nothing: the body is its connection's, and another attempt may
// have need of it.
func (s *sending) Close() error { return nil }

// read takes more of the source, and keeps it if there is room.
func (u *upload) read(p []byte) (int, error) {
	f := u.flow
	f.reading.Store(true)
	n, err := u.source.Read(p)
	f.reading.Store(false)
	f.sent.Add(int64(n))
	if n > 0 {
		f.moved()
		u.keep(p[:n])
	}
	u.ended = err
	switch {
	case err == io.EOF:
		f.x.out.drained.Store(true)
		if !f.answered.Load() {
			f.idle.Reset(f.patience())
		}
	case err != nil:
		f.mu.Lock()
		f.bodyErr = err
		f.mu.Unlock()
	}
	return n, err
}

func (u *upload) keep(p []byte) {
	if u.lost = u.lost || len(u.kept)+len(p) > u.limit; u.lost {
		u.kept = nil
		return
	}
	u.kept = append(u.kept, p...)
}

// end makes the read that is under way the last one, and waits for it: a
// connection may still be sending when its exchange is over, and net/http takes
// all deadlines off a body that is being read then.
func (u *upload) end() {
	if !u.flow.x.out.drained.Load() {
		_ = http.NewResponseController(u.flow.x.out).SetReadDeadline(time.Now())
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
}
