package proxy

import (
	"net/http"
	"sync/atomic"
	"time"
)

// recorder passes a response on and remembers what was told.
type recorder struct {
	http.ResponseWriter
	status   int
	refusal  string       // code, if the gateway answered
	extended atomic.Int64 // when the write deadline was last moved, Unix ns
}

// Unwrap lets http.ResponseController flush and hijack.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// started says whether the caller has been told a status.
func (w *recorder) started() bool { return w.status != 0 }

// extend gives the caller until then to take what is written: one that does not
// read would hold an exchange for ever.
func (w *recorder) extend(idle time.Duration) {
	now := time.Now()
	if last := w.extended.Load(); now.UnixNano()-last > int64(time.Second) && w.extended.CompareAndSwap(last, now.UnixNano()) {
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(now.Add(idle + time.Second))
	}
}

// release takes the deadline off again, for the connection's next request.
func (w *recorder) release() {
	if w.extended.Load() != 0 {
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Time{})
	}
}
