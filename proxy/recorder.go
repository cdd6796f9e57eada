package proxy

import (
	"bufio"
	"net"
	"net/http"
	"sync/atomic"
)

// recorder passes a response on, puts the gateway's own fields on it, and
// remembers what the caller was told.
type recorder struct {
	http.ResponseWriter
	trace   string            // the X-Request-Id of every response
	final   bool              // the connection ends with this response
	carries bool              // the request came over HTTP/1, and has a body
	drained atomic.Bool       // its body was read to the end
	status  int               // what the caller was told, or 0
	refusal string            // code, if the gateway answered
	inbound func(http.Header) // cleans what an upstream sends before its response
	grant   func(http.Header) // says which scripts may read the response; nil: none
	writing atomic.Bool       // the caller is being waited for
	failed  bool              // the caller did not take what was written
}

// Unwrap lets http.ResponseController set deadlines.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// started says whether the caller has been told a status.
func (w *recorder) started() bool { return w.status != 0 }

// unread says that a part of the request may still be on the connection. It must
// not be taken for the next request, which net/http would do when the response
// overlaps with a body that breaks off.
func (w *recorder) unread() bool { return w.carries && !w.drained.Load() }

// own sets the fields that are the gateway's to set. Informational responses
// of an upstream pass through the same header map, which is emptied after each.
func (w *recorder) own(status int) {
	h := w.Header()
	h["X-Request-Id"] = []string{w.trace}
	if w.grant != nil {
		w.grant(h)
	}
	if w.final || w.unread() {
		h["Connection"] = []string{"close"}
	}
	w.status = status
}

func (w *recorder) WriteHeader(status int) {
	if status < 200 {
		w.inbound(w.Header())
	} else if !w.started() {
		w.own(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if !w.started() {
		w.WriteHeader(http.StatusOK)
	}
	w.writing.Store(true)
	n, err := w.ResponseWriter.Write(p)
	w.writing.Store(false)
	w.failed = w.failed || err != nil
	return n, err
}

// FlushError is what http.ResponseController flushes with.
func (w *recorder) FlushError() error {
	w.writing.Store(true)
	err := http.NewResponseController(w.ResponseWriter).Flush()
	w.writing.Store(false)
	w.failed = w.failed || err != nil
	return err
}

// Hijack hands the connection over to a WebSocket.
func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.own(http.StatusSwitchingProtocols)
	}
	return conn, rw, err
}
