package bwemu

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Fault is something that a server should not do. Each field that is set is
// done; the zero Fault does nothing.
type Fault struct {
	Endpoint Endpoint `json:"endpoint,omitzero"` // of these requests; all when empty
	Secret   string   `json:"secret,omitzero"`   // only of those that name the secret's id
	Times    int      `json:"times,omitzero"`    // so many requests; until Clear when 0

	Delay time.Duration `json:"delay,omitzero"` // before anything else; nanoseconds in JSON
	Hang  bool          `json:"hang,omitzero"`  // never answer

	Status     int    `json:"status,omitzero"`      // answer so, with Body
	RetryAfter string `json:"retry_after,omitzero"` // with Status
	Location   string `json:"location,omitzero"`    // with Status
	Body       string `json:"body,omitzero"`        // answer 200, or Status, with this
	HTML       bool   `json:"html,omitzero"`        // answer 200 with a web page
	Giant      int64  `json:"giant,omitzero"`       // answer 200 with JSON of so many bytes

	NoPayload bool                     `json:"no_payload,omitzero"` // leave encrypted_payload out of the token reply
	Truncate  bool                     `json:"truncate,omitzero"`   // cut the reply in half and drop the connection
	Edit      func(body []byte) []byte `json:"-"`                   // change the reply
}

// A strike is a Fault in force.
type strike struct {
	Fault
	left    int           // requests left, when Times was set
	cleared chan struct{} // closed by Clear
}

// Fault puts f in force. Where several match a request, the oldest strikes.
func (e *Emulator) Fault(f Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults = append(e.faults, &strike{Fault: f, left: f.Times, cleared: make(chan struct{})})
}

// Clear ends all faults and lets go of requests that hang.
func (e *Emulator) Clear() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range e.faults {
		close(f.cleared)
	}
	e.faults = nil
}

// Count returns how many requests the endpoint has had.
func (e *Emulator) Count(endpoint Endpoint) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts[endpoint]
}

// Stats returns how many requests each endpoint has had.
func (e *Emulator) Stats() map[Endpoint]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.counts)
}

// pick returns the fault for a request, or one that does nothing. e.mu is held.
func (e *Emulator) pick(endpoint Endpoint, id, body string) *strike {
	for _, f := range e.faults {
		named := f.Secret == "" || f.Secret == id || strings.Contains(body, f.Secret)
		spent := f.Times > 0 && f.left == 0
		if cmp.Or(f.Endpoint, endpoint) == endpoint && named && !spent {
			f.left--
			return f
		}
	}
	return &strike{}
}

// before does what needs no answer of the API, and reports whether that was
// all.
func (f *strike) before(w http.ResponseWriter, r *http.Request) bool {
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
		}
	}
	switch {
	case f.Hang:
		select {
		case <-f.cleared:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	case f.HTML:
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<!doctype html><title>Welcome to the hotel's Wi-Fi</title>")
	case f.Giant > 0:
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"padding":"%s"}`, strings.Repeat("x", int(f.Giant)))
	case f.Status != 0 || f.Body != "":
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		if f.Location != "" {
			w.Header().Set("Location", f.Location)
		}
		w.WriteHeader(cmp.Or(f.Status, http.StatusOK))
		io.WriteString(w, f.Body)
	default:
		return false
	}
	return true
}

// write sends the API's answer, after doing to it what the fault says.
func (f *strike) write(w http.ResponseWriter, status int, body []byte) {
	if f.NoPayload {
		var members map[string]any
		if json.Unmarshal(body, &members) == nil {
			delete(members, "encrypted_payload")
			body, _ = json.Marshal(members)
		}
	}
	if f.Edit != nil {
		body = f.Edit(body)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if f.Truncate {
		w.Write(body[:len(body)/2])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	w.Write(body)
}
