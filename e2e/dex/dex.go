// Package dex runs a real Dex in this process: the second, independent OpenID
// provider of the end-to-end tests.
//
// Dex signs with RS256 and has no access tokens of its own kind: what it gives
// out as one is shaped like its ID tokens, without typ and without client_id. An
// issuer for it in vaultspan.yaml says tokens: [id]. Its sub is not the name but
// an encoding of the user's and the connector's id; the name is in email.
package dex

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/AppsFlyer/go-sundheit"
	"github.com/dexidp/dex/server"
	"github.com/dexidp/dex/server/connectors"
	"github.com/dexidp/dex/server/session"
	"github.com/dexidp/dex/server/signer"
	"github.com/dexidp/dex/storage"
	"github.com/dexidp/dex/storage/memory"
	"golang.org/x/crypto/bcrypt"
)

// Config is who Dex knows.
type Config struct {
	// People log in with Password; their user name is NAME@example.com.
	People map[string][]string // name to groups
	// Workloads get tokens by client credentials with Password as their secret.
	Workloads map[string][]string // name to groups
	// Audience is the client that tokens are for, and that people log in to with a
	// browser where RedirectURIs say so. Default: vaultspan.
	Audience               string
	RedirectURIs           []string
	PostLogoutRedirectURIs []string
	BackChannelLogoutURI   string
	Logger                 *slog.Logger // default: none
}

// Password is everybody's password and every client's secret.
const Password = "dex-dev-password"

// script is the client that people's tokens are asked for with.
const script = "script"

// Provider is a running Dex.
type Provider struct {
	cfg    Config
	issuer string
}

// Start serves a Dex on a free port of 127.0.0.1 until ctx is done.
func Start(ctx context.Context, cfg Config) (*Provider, error) {
	if cfg.Audience == "" {
		cfg.Audience = "vaultspan"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("dex: %w", err)
	}
	p := &Provider{cfg: cfg, issuer: "http://" + listener.Addr().String() + "/dex"}
	handler, err := p.serve(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("dex: %w", err), listener.Close())
	}
	web := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { web.Close() })
	go web.Serve(listener)
	return p, nil
}

func (p *Provider) serve(ctx context.Context) (http.Handler, error) {
	store, err := p.storage()
	if err != nil {
		return nil, err
	}
	const validity = time.Hour
	keys := signer.LocalConfig{KeysRotationPeriod: "6h"}
	sign, err := keys.Open(ctx, store, validity, time.Now, p.cfg.Logger)
	if err != nil {
		return nil, err
	}
	return server.NewServer(ctx, server.Config{
		Issuer:             p.issuer,
		Storage:            store,
		SkipApprovalScreen: true,
		PasswordConnector:  connectors.LocalConnector,
		IDTokensValidFor:   validity,
		SessionConfig: &session.Config{
			CookieName: "dex_session", AbsoluteLifetime: 24 * time.Hour, ValidIfNotUsedFor: time.Hour,
		},
		Signer:        sign,
		Logger:        p.cfg.Logger,
		HealthChecker: gosundheit.New(),
	})
}

// storage holds the clients, whose tokens the audience accepts, and the people.
func (p *Provider) storage() (storage.Storage, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(Password), bcrypt.DefaultCost)
	if err != nil {
		return nil, err
	}
	clients := []storage.Client{{ID: script, Name: script, Secret: Password}}
	for name, groups := range p.cfg.Workloads {
		clients = append(clients, storage.Client{
			ID: name, Name: name, Secret: Password,
			ClientCredentialsClaims: &storage.ClientCredentialsClaims{Groups: groups},
		})
	}
	audience := storage.Client{
		ID: p.cfg.Audience, Name: p.cfg.Audience, Secret: Password,
		RedirectURIs: p.cfg.RedirectURIs, PostLogoutRedirectURIs: p.cfg.PostLogoutRedirectURIs, BackchannelLogoutURI: p.cfg.BackChannelLogoutURI,
	}
	for _, c := range clients {
		audience.TrustedPeers = append(audience.TrustedPeers, c.ID)
	}
	var people []storage.Password
	for name, groups := range p.cfg.People {
		people = append(people, storage.Password{
			Email: name + "@example.com", Username: name, UserID: name, Hash: hash, Groups: groups,
		})
	}
	store := storage.WithStaticClients(memory.New(p.cfg.Logger), append(clients, audience))
	store = storage.WithStaticPasswords(store, people, p.cfg.Logger)
	return storage.WithStaticConnectors(store, []storage.Connector{
		{ID: connectors.LocalConnector, Type: connectors.LocalConnector, Name: "password"},
	}), nil
}

// Issuer returns the issuer URL.
func (p *Provider) Issuer() string { return p.issuer }

// Token asks Dex for a token of a person or workload, for the audience.
func (p *Provider) Token(ctx context.Context, name string) (string, error) {
	client := name
	form := url.Values{"grant_type": {"client_credentials"}}
	scopes := []string{"openid", "groups", "profile", "audience:server:client_id:" + p.cfg.Audience}
	if _, ok := p.cfg.People[name]; ok {
		client = script
		scopes = append(scopes, "email")
		form = url.Values{"grant_type": {"password"}, "username": {name + "@example.com"}, "password": {Password}}
	}
	form.Set("scope", strings.Join(scopes, " "))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(client, Password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("dex token of %s: %w", name, err)
	}
	defer resp.Body.Close()
	var answer struct {
		IDToken string `json:"id_token"`
		Error   string `json:"error"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.IDToken == "" {
		return "", fmt.Errorf("dex token of %s: %s %s", name, resp.Status, answer.Error)
	}
	return answer.IDToken, nil
}
