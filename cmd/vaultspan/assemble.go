package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/assertion"
	"github.com/vaultspan/vaultspan/authn/session"
	"github.com/vaultspan/vaultspan/config"
	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
	"github.com/vaultspan/vaultspan/vault/bitwarden"
)

// instance is a running gateway and what it is made of. One goroutine at a time
// applies configurations to it.
type instance struct {
	gateway *proxy.Gateway
	log     *audit.Log
	logger  *slog.Logger
	tracer  trace.TracerProvider
	meter   metric.MeterProvider
	budgets *bitwarden.Budgets

	store          session.Store // of the people who are logged in; nil before the first route for people
	storeAt        string        // where that is, as sessionsAt says
	fingerprintKey func() string
	current        *parts                // by the goroutine that applies
	serving        atomic.Pointer[parts] // the same, for everybody else
	former         []*parts              // whose requests may be on their way to a lease
	closing        sync.WaitGroup        // what logged people in
}

// parts is what one configuration was made into.
type parts struct {
	config        *config.Config
	generation    uint64 // of its bindings
	authenticator *authn.Authenticator
	sessions      *session.Manager  // nil: nobody logs in
	assertions    *assertion.Signer // nil: no upstream is told by assertion
	engine        *policy.Engine
	vaults        map[string]*account
	left          time.Time // when another took its place
}

// account is an open vault and what it asks.
type account struct {
	*vault.Vault
	source *bitwarden.Client
	token  func() string // that source logs in with
}

// use goes on with another access token. What the vault holds, it keeps.
func (a *account) use(source *bitwarden.Client, token func() string) {
	a.Use(source, a.source.Close)
	a.source, a.token = source, token
}

// close ends the vault and its way to the secret manager. Leases that are out
// can still be used.
func (a *account) close() {
	a.Close()
	a.source.Close()
}

// apply makes cfg what is served: everything is built first, then swapped at
// once. If anything cannot be built nothing changes. Vaults whose settings are
// the same are kept, with their values, also when the access token is another; issuers
// keep their keys.
func (i *instance) apply(ctx context.Context, cfg *config.Config) error {
	rules := rulesOf(cfg)
	engine, err := policy.New(ctx, rules)
	if err != nil {
		return err
	}
	next := &parts{config: cfg, generation: i.current.generation + 1, engine: engine, vaults: map[string]*account{}}
	next.authenticator, err = authn.New(ctx, authn.Config{
		Issuers: cfg.Issuers, Paths: claimsOf(cfg, rules), Previous: i.current.authenticator,
		Logger: i.logger, Meter: i.meter, Tracer: i.tracer,
	})
	if err != nil {
		return err
	}
	if next.assertions, err = signer(cfg); err != nil {
		next.authenticator.Close()
		return err
	}
	if next.sessions, err = i.people(ctx, next); err != nil {
		next.authenticator.Close()
		return err
	}
	var opened []*account
	renewed := map[*account]*bitwarden.Client{} // with another access token
	undo := func() {
		next.authenticator.Close()
		for _, source := range renewed {
			source.Close()
		}
		for _, a := range opened {
			a.close()
		}
	}
	bindings := next.bindings()
	for name, settings := range cfg.Vaults {
		a := i.keep(name, settings)
		if a == nil {
			if a, err = i.open(name, settings, bindings[name]); err != nil {
				undo()
				return err
			}
			opened = append(opened, a)
		} else if a.token() != settings.Bitwarden.AccessToken() {
			source, err := i.source(name, settings)
			if err != nil {
				undo()
				return err
			}
			renewed[a] = source
		}
		next.vaults[name] = a
	}
	i.rebind(next)
	if err := i.gateway.Swap(i.settings(next)); err != nil {
		undo()
		i.rebind()
		return err
	}
	for name, a := range next.vaults {
		if source := renewed[a]; source != nil {
			a.use(source, cfg.Vaults[name].Bitwarden.AccessToken)
		}
	}
	last := i.current
	last.left = time.Now()
	i.former = append(i.former, last)
	i.current = next
	i.serving.Store(next)
	i.retire(last)
	i.log.Change(audit.Event{Code: "activated", Revision: engine.Revision(), Detail: "configuration active"})
	return nil
}

// keep returns the vault to go on with, if its machine account is asked as it was,
// be it with another access token.
func (i *instance) keep(name string, settings vault.Config) *account {
	a := i.current.vaults[name]
	if a == nil {
		return nil
	}
	was, is := i.current.config.Vaults[name].Bitwarden, settings.Bitwarden
	was.AccessToken, is.AccessToken = nil, nil
	if !reflect.DeepEqual(was, is) {
		return nil
	}
	return a
}

// open starts a vault on its own machine account.
func (i *instance) open(name string, settings vault.Config, bindings []vault.Binding) (*account, error) {
	source, err := i.source(name, settings)
	if err != nil {
		return nil, err
	}
	v, err := vault.Open(vault.Setup{
		Name: name, Config: settings, Source: source, Bindings: bindings, FingerprintKey: i.fingerprintKey,
		Logger: i.logger, Meter: i.meter, OnChange: i.secretChanged,
	})
	if err != nil {
		source.Close()
		return nil, err
	}
	return &account{v, source, settings.Bitwarden.AccessToken}, nil
}

// source is a way to a vault's machine account. It asks nobody yet.
func (i *instance) source(name string, settings vault.Config) (*bitwarden.Client, error) {
	source, err := bitwarden.New(bitwarden.Setup{
		Name: name, Config: settings.Bitwarden, Tracer: i.tracer, Logger: i.logger, Budgets: i.budgets,
	})
	if err != nil {
		return nil, fmt.Errorf("vaults.%s: %w", name, err)
	}
	return source, nil
}

// secretChanged writes down that a version came, or went.
func (i *instance) secretChanged(c vault.Change) {
	i.log.Change(audit.Event{Code: "secret", Secret: c.Secret, Version: c.Version, Fingerprint: c.Fingerprint, Detail: c.String()})
}

// rebind gives each vault the bindings of the configurations that requests may
// come from: the current one, those that it followed, and more. What the last of
// them says of notes and ages goes for all.
func (i *instance) rebind(more ...*parts) {
	bindings, rules := map[*account][]vault.Binding{}, map[*account]vault.Config{}
	for _, p := range slices.Concat(i.former, []*parts{i.current}, more) {
		of := p.bindings()
		for name, a := range p.vaults {
			bindings[a] = append(bindings[a], of[name]...)
			rules[a] = p.config.Vaults[name]
		}
	}
	for a, all := range bindings {
		a.Govern(rules[a])
		a.Rebind(all)
	}
}

// settle takes the bindings of former configurations away once the requests that
// began with them have their leases. It is called now and then.
func (i *instance) settle() {
	gone := func(p *parts) bool { return time.Since(p.left) > lingering }
	if !slices.ContainsFunc(i.former, gone) {
		return
	}
	for _, p := range i.former {
		if gone(p) {
			i.leave(p)
		}
	}
	i.former = slices.DeleteFunc(i.former, gone)
	i.rebind()
}

// lingering is more than a request spends on its way to a lease.
const lingering = 5 * time.Second

// retire closes what the current configuration no longer uses.
func (i *instance) retire(last *parts) {
	if last.authenticator != nil { // there is none before the first apply
		last.authenticator.Close()
	}
	for name, a := range last.vaults {
		if i.current.vaults[name] != a {
			a.close()
		}
	}
}

// close stops what runs in the background.
func (i *instance) close() {
	for _, p := range append(i.former, i.current) {
		i.leave(p)
	}
	i.closing.Wait()
	for _, a := range i.current.vaults {
		a.close()
	}
	i.current.authenticator.Close()
	if i.store != nil {
		if err := i.store.Close(); err != nil {
			i.logger.Warn("the sessions could not be closed", "error", err.Error())
		}
	}
}

// settings wires the parts for the gateway.
func (i *instance) settings(p *parts) proxy.Settings {
	vaults := make(map[string]proxy.Vault, len(p.vaults))
	for name, v := range p.vaults {
		vaults[name] = bound{v.Vault, p.generation}
	}
	s := proxy.Settings{
		URL: publicURL(p.config), TrustedProxies: p.config.TrustedProxies, Routes: p.config.Routes,
		Authenticator: p.authenticator, Policy: p.engine, Vaults: vaults,
	}
	if p.sessions != nil { // a nil pointer in an interface is not nil
		s.Sessions = p.sessions
	}
	if p.assertions != nil {
		s.Assertions = p.assertions
	}
	return s
}

// bound is a vault as one configuration binds it.
type bound struct {
	*vault.Vault
	generation uint64
}

// Lease implements proxy.Vault.
func (b bound) Lease(ctx context.Context, route, secret string) (*vault.Lease, error) {
	return b.LeaseOf(ctx, b.generation, route, secret)
}

// LeaseOwn implements proxy.Vault.
func (b bound) LeaseOwn(ctx context.Context, route, secret, name string) (*vault.Lease, error) {
	return b.LeaseOwnOf(ctx, b.generation, route, secret, name)
}

// bindings are the configuration's, of its generation.
func (p *parts) bindings() map[string][]vault.Binding {
	all := bindingsOf(p.config)
	for _, some := range all {
		for j := range some {
			some[j].Generation = p.generation
		}
	}
	return all
}

// rulesOf is the RBAC table as policy knows it.
func rulesOf(cfg *config.Config) policy.Rules {
	rules := policy.Rules{Roles: cfg.Roles, Config: cfg.Policy}
	for _, r := range cfg.Routes {
		if r.Allow.Open() {
			continue // nobody decides on it
		}
		rules.Routes = append(rules.Routes, policy.RouteInput{Name: r.Name, Secrets: r.Candidates(), Allow: r.Allow, Tags: r.Tags})
	}
	return rules
}

// claimsOf lists the claims that members ask for, and that names of secrets are
// made of.
func claimsOf(cfg *config.Config, rules policy.Rules) []string {
	paths := rules.Paths()
	for _, r := range cfg.Routes {
		paths = append(paths, r.ClaimPaths()...)
	}
	return paths
}

// bindingsOf lists by vault which secrets each route wears, and where they may go.
func bindingsOf(cfg *config.Config) map[string][]vault.Binding {
	all := map[string][]vault.Binding{}
	for _, r := range cfg.Routes {
		bindings, _ := r.Bindings() // Swap says what is wrong
		for _, b := range bindings {
			name, _, _ := strings.Cut(b.Secret, "/")
			all[name] = append(all[name], b)
		}
	}
	return all
}

// publicURL is url, or the listener's address where that is what callers use.
func publicURL(cfg *config.Config) *url.URL {
	scheme := "http"
	if cfg.TLS.Cert != "" {
		scheme = "https"
	}
	u, err := url.Parse(cmp.Or(cfg.URL, scheme+"://"+cfg.Listen))
	if err != nil {
		return &url.URL{Scheme: scheme, Host: cfg.Listen}
	}
	return u
}

// fingerprintKey is the configured key, or a random one: then fingerprints can
// be compared only until the process ends.
func fingerprintKey(cfg *config.Config) func() string {
	if cfg.FingerprintKey != nil {
		return cfg.FingerprintKey
	}
	key := rand.Text() // 128 bits
	return func() string { return key }
}

// errStopped says that a listener ended by itself.
var errStopped = errors.New("listener stopped")
