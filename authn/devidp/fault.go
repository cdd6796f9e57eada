package devidp

import (
	"io"
	"net/http"
	"sync"
)

// Endpoint is a path of the provider that can be counted and made to fail.
type Endpoint string

// The endpoints that a relying party depends on.
const (
	Discovery Endpoint = "/.well-known/openid-configuration"
	Keys      Endpoint = "/keys"
	Token     Endpoint = "/token"
)

// faults counts requests and holds the broken endpoints.
type faults struct {
	mu     sync.Mutex
	counts map[Endpoint]int
	broken map[Endpoint]http.Handler
}

// Fault makes an endpoint answer with h instead: Down, HTML, Hang, NoKeys or any
// other handler. A nil h heals it.
func (p *Provider) Fault(e Endpoint, h http.Handler) {
	p.faults.mu.Lock()
	defer p.faults.mu.Unlock()
	if p.faults.broken == nil {
		p.faults.broken = map[Endpoint]http.Handler{}
	}
	p.faults.broken[e] = h
}

// Requests returns how often an endpoint was asked, failing or not.
func (p *Provider) Requests(e Endpoint) int {
	p.faults.mu.Lock()
	defer p.faults.mu.Unlock()
	return p.faults.counts[e]
}

func (f *faults) count(e Endpoint) (broken http.Handler) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e == Discovery || e == Keys || e == Token {
		if f.counts == nil {
			f.counts = map[Endpoint]int{}
		}
		f.counts[e]++
	}
	return f.broken[e]
}

// Down answers 503.
func Down() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "down", http.StatusServiceUnavailable)
	})
}

// HTML answers 200 with a web page, as a captive portal does.
func HTML() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, "<!doctype html><title>Welcome</title><p>Please accept the terms.")
	})
}

// Hang answers nothing until the caller gives up.
func Hang() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
}

// NoKeys answers an empty key set.
func NoKeys() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"keys":[]}`)
	})
}
