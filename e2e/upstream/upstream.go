// Package upstream is an HTTP service behind the gateway: it demands the
// credential it was told, and keeps exactly what it received, byte for byte.
//
// It answers what the path asks for:
//
//	/status/418      that status
//	/stream          five server-sent events, each flushed
//	/reflect         the credential in the body, as no upstream should
//	/close           nothing: the connection is dropped after the request
//	/wait            nothing until Release; then as anything else
//	/hold            a server-sent event at once, another at Release
//	/ws              a WebSocket that sends back the bytes it gets, as messages
//	anything else    method, target and the body's length, as JSON
package upstream

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Upstream is a running service.
type Upstream struct {
	URL string // http://127.0.0.1:port

	header string

	mu       sync.Mutex
	accepted []string // values of header
	uses     []Use
	raw      bytes.Buffer // every connection's bytes, as they came
	arrived  chan struct{}
	released chan struct{}
}

// Use is one request as it was received.
type Use struct {
	Attempt    string // X-Request-Id
	Method     string
	Target     string // of the request line, untouched
	Host       string
	Header     http.Header
	Body       []byte
	Credential int // the version accepted, from 1; 0 for none or a wrong one
	Status     int
}

// String is the use in a line for golden files: without the attempt, which
// differs from run to run.
func (u Use) String() string {
	return fmt.Sprintf("%s %s credential=%d status=%d", u.Method, u.Target, u.Credential, u.Status)
}

// Start serves an upstream on a free port of 127.0.0.1 until ctx is done. It
// wants one of its accepted values in the named header; an empty name wants
// nothing.
func Start(ctx context.Context, header string, accepted ...string) (*Upstream, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("upstream: %w", err)
	}
	u := &Upstream{
		URL: "http://" + listener.Addr().String(), header: header, accepted: accepted,
		arrived: make(chan struct{}), released: make(chan struct{}),
	}
	server := &http.Server{Handler: u, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	go server.Serve(recording{listener, u})
	return u, nil
}

// Accept takes a further value of the credential, the next version. Older ones
// go on being accepted.
func (u *Upstream) Accept(value string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.accepted = append(u.accepted, value)
}

// Retire accepts only the newest version of the credential from now on.
func (u *Upstream) Retire() { u.Keep(1) }

// Keep accepts only the n newest versions of the credential from now on.
func (u *Upstream) Keep(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range len(u.accepted) - n {
		u.accepted[i] = ""
	}
}

// Uses returns the requests received so far.
func (u *Upstream) Uses() []Use {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.uses)
}

// Raw returns every byte that connections brought, one after the other.
func (u *Upstream) Raw() []byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	return bytes.Clone(u.raw.Bytes())
}

// Wait returns once n requests were received.
func (u *Upstream) Wait(ctx context.Context, n int) error {
	for {
		u.mu.Lock()
		got, arrived := len(u.uses), u.arrived
		u.mu.Unlock()
		if got >= n {
			return nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d requests, got %d: %w", n, got, context.Cause(ctx))
		}
	}
}

// ServeHTTP implements http.Handler.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller went away: nothing was received
	}
	use := Use{
		Attempt: r.Header.Get("X-Request-Id"), Method: r.Method, Target: r.RequestURI, Host: r.Host,
		Header: r.Header.Clone(), Body: body, Credential: u.version(r.Header.Values(u.header)), Status: http.StatusOK,
	}
	dir, last := path.Split(r.URL.Path)
	switch status, err := strconv.Atoi(last); {
	case u.header != "" && use.Credential == 0:
		use.Status = http.StatusUnauthorized
	case dir == "/status/" && err == nil && status >= 200 && status < 600:
		use.Status = status
	}
	released := u.record(use)
	u.answer(w, r, use, released)
}

// version says which accepted value a request brought. Two values are none.
func (u *Upstream) version(values []string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(values) != 1 || values[0] == "" {
		return 0
	}
	return 1 + slices.IndexFunc(u.accepted, func(a string) bool {
		return subtle.ConstantTimeCompare([]byte(a), []byte(values[0])) == 1
	})
}

// record keeps a use, and returns what is closed by the next Release.
func (u *Upstream) record(use Use) (released <-chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.uses = append(u.uses, use)
	close(u.arrived)
	u.arrived = make(chan struct{})
	return u.released
}

func (u *Upstream) answer(w http.ResponseWriter, r *http.Request, use Use, released <-chan struct{}) {
	switch {
	case use.Status == http.StatusUnauthorized:
		http.Error(w, "wrong credential", use.Status)
	case r.URL.Path == "/close":
		panic(http.ErrAbortHandler)
	case r.URL.Path == "/reflect":
		fmt.Fprintf(w, "you sent %s", r.Header.Get(u.header))
	case r.URL.Path == "/wait":
		select {
		case <-released:
			use.answer(w)
		case <-r.Context().Done():
		}
	case r.URL.Path == "/hold":
		hold(w, r, released)
	case r.URL.Path == "/ws":
		echo(w, r)
	case r.URL.Path == "/stream":
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			http.NewResponseController(w).Flush()
		}
	default:
		use.answer(w)
	}
}

// answer says what was received.
func (u Use) answer(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(u.Status)
	json.NewEncoder(w).Encode(map[string]any{"method": u.Method, "target": u.Target, "bytes": len(u.Body)})
}

// recording is a listener whose connections note what they read.
type recording struct {
	net.Listener
	upstream *Upstream
}

func (l recording) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return &recordingConn{conn, l.upstream}, err
}

type recordingConn struct {
	net.Conn
	upstream *Upstream
}

func (c *recordingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.upstream.mu.Lock()
	defer c.upstream.mu.Unlock()
	c.upstream.raw.Write(b[:n])
	return n, err
}
