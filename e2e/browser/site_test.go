package browser_test

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httputil"
	"sync"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

// site is the application behind the gateway. It shows what it was asked for at
// any path, streams at /app/events, and takes WebSockets at /app/ws.
type site struct {
	bench *bench.Bench

	mu       sync.Mutex
	asked    []string // method and target of each request
	upgrades int
}

func newSite(b *bench.Bench) *site { return &site{bench: b} }

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	dump, _ := httputil.DumpRequest(r, false)
	s.bench.Saw("what the site received", dump) // our own cookies must not be in it
	s.mu.Lock()
	s.asked = append(s.asked, r.Method+" "+r.RequestURI)
	s.mu.Unlock()
	switch r.URL.Path {
	case "/app/events":
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: first\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case "/app/ws":
		s.socket(w, r)
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><html lang="en"><title>wiki</title><h1>wiki</h1><p id="at">%s</p>`, r.RequestURI)
	}
}

// socket takes a WebSocket, and holds it.
func (s *site) socket(w http.ResponseWriter, r *http.Request) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "websocket")
	w.Header().Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	s.mu.Lock()
	s.upgrades++
	s.mu.Unlock()
	conn.Read(make([]byte, 1)) // until the other side goes
}

// requests are those that the site received with this method.
func (s *site) requests(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, line := range s.asked {
		if len(line) > len(method) && line[:len(method)+1] == method+" " {
			n++
		}
	}
	return n
}

func (s *site) sockets() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.upgrades
}
