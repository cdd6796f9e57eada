package devidp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// Provider is a running OpenID provider.
type Provider struct {
	keyring
	cfg     Config
	people  map[string]Person
	clients map[string]Client
	storage *storage
	flows   *op.Provider
	outward *http.Client
	faults  faults
	mux     *http.ServeMux
}

// New makes a provider that serves nothing by itself: it is the http.Handler of
// cfg.Issuer. It refuses an issuer that is not on loopback.
func New(cfg Config) (*Provider, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("development issuer: %w", err)
	}
	p := &Provider{
		keyring: keyring{algorithm: cfg.Algorithm},
		cfg:     cfg,
		people:  map[string]Person{},
		clients: map[string]Client{},
	}
	for _, person := range cfg.People {
		p.people[person.Subject] = person
	}
	for _, client := range cfg.Clients {
		p.clients[client.ID] = client
	}
	if _, err := p.Rotate(); err != nil {
		return nil, err
	}
	p.storage = newStorage(p)
	var err error
	p.outward = newOutward(cfg)
	p.flows, err = op.NewProvider(
		&op.Config{
			CodeMethodS256: true, AuthMethodPost: true, GrantTypeRefreshToken: true,
			BackChannelLogoutSupported: true, BackChannelLogoutSessionSupported: true,
			SupportedClaims: []string{
				"iss", "sub", "aud", "client_id", "exp", "iat", "nbf", "jti", "scope", "act",
				"sid", "auth_time", "acr", "nonce",
				"name", "email", "email_verified", "groups", "realm_access",
			},
		},
		p.storage,
		op.StaticIssuer(cfg.Issuer),
		op.WithAllowInsecure(), // http, which check has confined to loopback
		op.WithCustomTokenEndpoint(op.NewEndpoint(string(Token))),
		op.WithCustomKeysEndpoint(op.NewEndpoint(string(Keys))),
		op.WithCrypto(tokenFormat{p.storage}),
		op.WithAccessTokenVerifierOpts(op.WithSupportedAccessTokenSigningAlgorithms(string(cfg.Algorithm))),
		op.WithIDTokenHintVerifierOpts(op.WithSupportedIDTokenHintSigningAlgorithms(string(cfg.Algorithm))),
		op.WithCORSOptions(nil), // no page of another origin has business here
	)
	if err != nil {
		return nil, fmt.Errorf("development issuer: %w", err)
	}
	p.mux = http.NewServeMux()
	p.mux.Handle("/", p.flows)
	p.mux.Handle("GET /{$}", http.RedirectHandler("/account", http.StatusSeeOther))
	p.mux.HandleFunc("GET /login", p.showPicker)
	p.mux.HandleFunc("POST /login", p.pick)
	p.mux.HandleFunc("GET /account", p.showAccount)
	p.mux.HandleFunc("POST /account", p.changeAccount)
	p.mux.HandleFunc("GET /end_session", p.endSession)
	p.mux.HandleFunc("POST /end_session", p.endSession)
	p.mux.HandleFunc("GET /style.css", serveStyle)
	p.mux.HandleFunc("POST /token-for", p.tokenFor)
	return p, nil
}

// Start makes a provider and serves it until ctx is done.
func Start(ctx context.Context, cfg Config) (*Provider, error) {
	address := "127.0.0.1:0"
	if cfg.Issuer != "" {
		address = strings.TrimPrefix(cfg.Issuer, "http://")
		if !loopback(address) {
			return nil, errors.New("development issuer: would listen beyond loopback")
		}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("development issuer: %w", err)
	}
	if cfg.Issuer == "" {
		cfg.Issuer = "http://" + listener.Addr().String()
	}
	p, err := New(cfg)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	server := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	go server.Serve(listener)
	return p, nil
}

// Issuer returns the issuer URL.
func (p *Provider) Issuer() string { return p.cfg.Issuer }

// ServeHTTP answers loopback peers that call it by a loopback name, so that
// neither the network nor a web page behind DNS rebinding gets at it.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !loopback(r.RemoteAddr) || !loopback(r.Host) {
		http.Error(w, "this provider is for development, on loopback only", http.StatusForbidden)
		return
	}
	if fault := p.faults.count(Endpoint(r.URL.Path)); fault != nil {
		fault.ServeHTTP(w, r)
		return
	}
	p.mux.ServeHTTP(w, r)
}

// actsFor reports whether a client may act for a person.
func (p *Provider) actsFor(client, person string) bool {
	return slices.Contains(p.clients[client].ActsFor, person)
}
