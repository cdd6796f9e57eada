// Package bwemu emulates the API of Bitwarden Secrets Manager, as far as a
// machine account reads it, for the demo and for tests: the real SDK logs in to
// it, decrypts what it answers and cannot tell the difference.
//
// It keeps everything in memory, mints real access tokens and encrypts every
// value with the organization's key, as Bitwarden's clients would. What a real
// server does rarely, it does on request: see Fault.
//
// It trusts whoever can reach it. It is not a secret manager: serve it on
// loopback, with invented values.
package bwemu

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// An Emulator is a server with any number of organizations. It is an
// http.Handler: the identity service is under /identity, the API under /api.
type Emulator struct {
	mux *http.ServeMux

	mu       sync.Mutex // guards all below, and every object handed out
	orgs     map[string]*Organization
	accounts map[string]*Account // by client id
	sessions map[string]session  // by bearer token
	secrets  map[string]*Secret
	faults   []*strike
	counts   map[Endpoint]int
	offset   time.Duration
	lifetime time.Duration
}

// New returns an Emulator without organizations.
func New() *Emulator {
	e := &Emulator{
		mux:      http.NewServeMux(),
		orgs:     make(map[string]*Organization),
		accounts: make(map[string]*Account),
		sessions: make(map[string]session),
		secrets:  make(map[string]*Secret),
		counts:   make(map[Endpoint]int),
		lifetime: time.Hour,
	}
	e.routes()
	return e
}

// ServeHTTP implements http.Handler.
func (e *Emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) { e.mux.ServeHTTP(w, r) }

// Advance moves the server's clock, which is otherwise the machine's.
func (e *Emulator) Advance(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.offset += d
}

// SessionLifetime sets how long the sessions of later logins live. Bitwarden's
// live an hour, which is the default.
func (e *Emulator) SessionLifetime(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lifetime = d
}

// now is the server's time; e.mu is held.
func (e *Emulator) now() time.Time { return time.Now().Add(e.offset).UTC() }

// A Server is an Emulator listening on loopback.
type Server struct {
	Identity string // base URL of the identity service
	API      string // base URL of the API
	Admin    string // base URL of Emulator.Admin, on a port of its own

	close func()
}

// Close stops listening and drops every connection.
func (s *Server) Close() { s.close() }

// Start serves e on ports of 127.0.0.1 that the system picks, until ctx is done
// or the Server closed.
func (e *Emulator) Start(ctx context.Context) (*Server, error) {
	var config net.ListenConfig
	api, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	admin, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		api.Close()
		return nil, err
	}
	servers := map[net.Listener]*http.Server{
		api:   {Handler: e, ReadHeaderTimeout: 10 * time.Second},
		admin: {Handler: e.Admin(), ReadHeaderTimeout: 10 * time.Second},
	}
	var serving sync.WaitGroup
	for listener, server := range servers {
		serving.Go(func() { server.Serve(listener) })
	}
	stop := func() {
		for listener, server := range servers {
			listener.Close() // Serve may not have taken it over yet
			server.Close()
		}
		serving.Wait()
	}
	unhook := context.AfterFunc(ctx, stop)
	base := "http://" + api.Addr().String()
	return &Server{
		Identity: base + "/identity",
		API:      base + "/api",
		Admin:    "http://" + admin.Addr().String(),
		close:    func() { unhook(); stop() },
	}, nil
}
