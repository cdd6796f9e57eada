package proxy

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/vault"
)

// Settings is one configuration, ready to serve. A Gateway swaps it whole.
type Settings struct {
	URL            *url.URL         // how callers reach us
	TrustedProxies []netip.Prefix   // peers whose X-Forwarded-For is believed
	Routes         []Route          // checked: see Route.Check and CheckConflicts
	Closed         map[string]error // routes, by name, that must not serve, and why
	Authenticator  Authenticator
	Policy         Decider
	Vaults         map[string]Vault // by name
	Sessions       Sessions         // nil: nobody logs in
	Assertions     Assertions       // nil: no route says assertion: true

	table *table
}

// Authenticator says who a bearer token speaks for. *authn.Authenticator is it.
type Authenticator interface {
	Bearer(ctx context.Context, token string) (authn.Identity, error)
}

// Decider says whether an input may pass. *policy.Engine is it.
type Decider interface {
	Decide(ctx context.Context, in policy.Input) (policy.Decision, error)
}

// Vault lends secrets. *vault.Vault is it.
type Vault interface {
	Lease(ctx context.Context, route, secret string) (*vault.Lease, error)
	// LeaseOwn is Lease for a caller's own secret of that name.
	LeaseOwn(ctx context.Context, route, secret, name string) (*vault.Lease, error)
	// Renew is for a lease whose credential the upstream refused.
	Renew(ctx context.Context, refused *vault.Lease) (*vault.Lease, error)
}

// Recorder keeps the evidence. *audit.Log is it.
type Recorder interface {
	Intent(ctx context.Context, e audit.Event) (audit.Receipt, error)
	Outcome(e audit.Event)
	Refusal(e audit.Event)
}

// Gateway serves requests with its current Settings. It refuses every request
// until Swap has given it some.
type Gateway struct {
	Audit  Recorder             // required
	Tracer trace.TracerProvider // required
	Meter  metric.MeterProvider // default: none
	Logger *slog.Logger         // required
	// UserID is the user.id of an identity on spans. Required.
	UserID func(issuer, subject string) string
	// Recheck is how often open exchanges are decided again. Default: 10s.
	Recheck time.Duration

	settings atomic.Pointer[Settings]
	draining atomic.Bool
	meters   atomic.Pointer[meters]

	mu     sync.Mutex
	active int
	quiet  sync.Cond // active became 0
}

// Swap compiles settings and, if all of them are good, serves with them from
// the next request on. Requests under way keep what they began with, but open
// streams are decided again by the new policy. One Swap at a time.
func (g *Gateway) Swap(s Settings) error {
	if g.Audit == nil || g.Tracer == nil || g.Logger == nil || g.UserID == nil {
		return errors.New("the gateway lacks a required part")
	}
	t, err := newTable(s.URL, s.Routes, s.Closed)
	if err != nil {
		return err
	}
	if s.Assertions == nil && slices.ContainsFunc(s.Routes, func(r Route) bool { return r.Assertion }) {
		return errors.New("a route wants assertions, and there is nothing to sign them with")
	}
	if g.meters.Load() == nil {
		m, err := newMeters(g.Meter, g.inflight)
		if err != nil {
			return err
		}
		g.meters.Store(m)
	}
	s.table = t
	old := g.settings.Load()
	if old == nil {
		g.settings.Store(&s)
		return nil
	}
	for name, r := range t.byName {
		if before := old.table.byName[name]; before != nil {
			r.inflight = before.inflight
		}
	}
	g.settings.Store(&s)
	for _, r := range old.table.byName {
		r.close()
	}
	return nil
}

// Drain refuses requests from now on, so that callers on open connections go
// elsewhere while those under way end.
func (g *Gateway) Drain() { g.draining.Store(true) }

// Draining says whether Drain was called.
func (g *Gateway) Draining() bool { return g.draining.Load() }

// Wait returns when every request has ended and left its outcome. Requests may
// still begin meanwhile, as they do while the gateway drains.
func (g *Gateway) Wait() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.quiet.L = &g.mu; g.active > 0; {
		g.quiet.Wait()
	}
}

// count counts the requests under way.
func (g *Gateway) count(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.active += n; g.active == 0 {
		g.quiet.Broadcast()
	}
}

// inflight tells how many requests each route has admitted now.
func (g *Gateway) inflight(tell func(r *route, n int64)) {
	s := g.settings.Load()
	if s == nil {
		return // the first Swap is not done
	}
	for _, r := range s.table.byName {
		tell(r, r.inflight.Load())
	}
}

func (g *Gateway) recheck() time.Duration { return cmp.Or(g.Recheck, recheckEvery) }
