package clients_test

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"
)

// upstream is a service that demands the vault's credential in its place, and
// nothing else that could be one in any other.
type upstream struct {
	*httptest.Server
	ca string // the file of who signed its certificate, if it has one

	header, credential string
	next               http.Handler

	mu       sync.Mutex
	served   int
	problems []string
}

// places are where a credential could be.
var places = []string{"Authorization", "Proxy-Authorization", "X-Api-Key", "X-Goog-Api-Key", "Api-Key", "Cookie"}

// jwt is a token of a caller, or one like it.
var jwt = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]*`)

// upstream starts a service on plain HTTP/1, with the credential in a header.
func (w *world) upstream(header, credential string, next http.Handler) *upstream {
	return w.start(false, header, credential, next)
}

// upstreamTLS starts a service on HTTP/2 and HTTP/1 over TLS, with an authority
// of its own.
func (w *world) upstreamTLS(header, credential string, next http.Handler) *upstream {
	return w.start(true, header, credential, next)
}

func (w *world) start(secure bool, header, credential string, next http.Handler) *upstream {
	w.t.Helper()
	u := &upstream{header: header, credential: credential, next: next}
	u.Server = httptest.NewUnstartedServer(u)
	if secure {
		u.EnableHTTP2 = true
		u.StartTLS()
		u.ca = w.authority(u.Server)
	} else {
		u.Start()
	}
	w.t.Cleanup(func() {
		u.CloseClientConnections()
		u.Close()
		u.report(w.t)
	})
	return u
}

// authority writes down who signed a server's certificate.
func (w *world) authority(s *httptest.Server) string {
	w.t.Helper()
	name := filepath.Join(w.Env()["SECRETS"], "upstream-ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(name, text, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return name
}

// report fails the test for what the service saw, and if it saw nothing.
func (u *upstream) report(t *testing.T) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, problem := range u.problems {
		t.Errorf("the upstream received %s", problem)
	}
	if u.served == 0 {
		t.Error("the upstream received nothing")
	}
}

// uses is how many requests came.
func (u *upstream) uses() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.served
}

func (u *upstream) problem(format string, args ...any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.problems = append(u.problems, fmt.Sprintf(format, args...))
}

// ServeHTTP implements http.Handler.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	u.served++
	u.mu.Unlock()
	if !u.inspect(r) {
		http.Error(w, "wrong credential", http.StatusUnauthorized)
		return
	}
	body := &watched{ReadCloser: r.Body}
	r.Body = body
	u.next.ServeHTTP(w, r)
	if jwt.Match(body.start.Bytes()) {
		u.problem("a token in the body of %s %s", r.Method, r.URL.Path)
	}
}

// inspect says whether a request has the one credential it has to have.
func (u *upstream) inspect(r *http.Request) bool {
	var head bytes.Buffer
	fmt.Fprintln(&head, r.RequestURI, r.Host)
	r.Header.Write(&head)
	if jwt.Match(head.Bytes()) {
		u.problem("a token in %s %s", r.Method, r.URL.Path)
	}
	good := true
	for _, name := range places {
		var want []string
		if name == u.header {
			want = []string{u.credential}
		}
		if got := r.Header.Values(name); !slices.Equal(got, want) {
			u.problem("%s: %q with %s %s, want %q", name, got, r.Method, r.URL.Path, want)
			good = false
		}
	}
	return good
}

// watched keeps the start of a body.
type watched struct {
	io.ReadCloser
	start bytes.Buffer
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.start.Write(p[:min(n, max(0, 1<<20-b.start.Len()))])
	return n, err
}
