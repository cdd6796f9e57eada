package authn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// Config is what an Authenticator is made of.
type Config struct {
	// Issuers are the providers whose tokens are accepted. None: no token is.
	Issuers []IssuerConfig
	// Paths are claims to expose besides those the issuers' claims.expose name:
	// the ones that role members ask for.
	Paths []string
	// Previous is the Authenticator this one takes over from at a reload. Issuers
	// that have the same url and ca keep their keys, so that a reload while one is
	// down shuts nobody out. Default: none.
	Previous *Authenticator
	// Logger is told of failed fetches and changed keys. Default: nobody is.
	Logger *slog.Logger
	// Meter counts tokens and fetches. Default: nobody does.
	Meter metric.MeterProvider
	// Tracer traces the fetches. Default: nobody does.
	Tracer trace.TracerProvider
	// Transport is how all issuers are reached, instead of one transport each
	// with the issuer's ca and checked addresses. For tests.
	Transport http.RoundTripper
	// Now is the time by which tokens and keys are judged. Default: time.Now.
	Now func() time.Time
}

// Authenticator accepts the tokens of several issuers.
type Authenticator struct {
	issuers []*issuer
	byURL   map[string]*issuer
	cache   *cache
	meter   *meter
	now     func() time.Time
	stop    context.CancelFunc
	loops   sync.WaitGroup
}

// issuer is one provider: its rules and its keys.
type issuer struct {
	*rules
	ca       string
	login    Login
	provider *provider
	keys     *keySet
}

// New returns an Authenticator that is fetching keys. It fails on a
// configuration that is wrong, never because an issuer does not answer. Of ctx
// only the values are used: Close ends what New began.
func New(ctx context.Context, c Config) (*Authenticator, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Tracer == nil {
		c.Tracer = tracenoop.NewTracerProvider()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	a := &Authenticator{byURL: map[string]*issuer{}, cache: newCache(), now: c.Now, stop: stop}
	for _, ic := range c.Issuers {
		i, err := c.issuer(life, ic)
		if err != nil {
			stop()
			return nil, fmt.Errorf("issuer %s: %w", ic.Name, err)
		}
		a.issuers = append(a.issuers, i)
		a.byURL[ic.URL] = i
	}
	var err error
	if a.meter, err = newMeter(c.Meter, a); err != nil {
		stop()
		return nil, err
	}
	for _, i := range a.issuers {
		i.keys.tell = a.meter.watch(i.name, c.Logger)
		i.inherit(c.Previous)
		first := i.keys.begin() // callers who come at once wait for it
		a.loops.Go(func() { i.keys.keep(life, first) })
	}
	return a, nil
}

// issuer makes one configured issuer ready, but fetches nothing.
func (c *Config) issuer(life context.Context, ic IssuerConfig) (*issuer, error) {
	r, err := newRules(ic, c.Paths)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(ic.URL)
	if err != nil {
		return nil, errors.New("url is not a URL")
	}
	over := c.Transport
	if over == nil {
		if over, err = transport(u, ic.CA); err != nil {
			return nil, err
		}
	}
	p := &provider{
		name: ic.Name, url: ic.URL, issuer: u, client: client(over), tracer: c.Tracer.Tracer(attr.Scope),
	}
	return &issuer{rules: r, ca: ic.CA, login: ic.Login, provider: p, keys: &keySet{
		source: p, maxAge: cmp.Or(ic.MaxKeyAge, defaultMaxKeyAge), now: c.Now, life: life,
	}}, nil
}

// inherit takes over the keys that the same issuer has in another
// Authenticator, and the host they live on.
func (i *issuer) inherit(previous *Authenticator) {
	if previous == nil {
		return
	}
	if old := previous.byURL[i.url]; old != nil && old.ca == i.ca {
		i.keys.current.Store(old.keys.current.Load())
		i.provider.keysURL.Store(old.provider.keysURL.Load())
		i.provider.logins.Store(old.provider.logins.Load())
	}
}

// Close ends the fetching. Tokens are still judged, with the keys that are left.
func (a *Authenticator) Close() {
	a.stop()
	a.loops.Wait()
	_ = a.meter.observed.Unregister() // it never fails
	for _, i := range a.issuers {
		i.provider.client.CloseIdleConnections()
	}
}

// Bearer returns who presents the token. The error is an *Error. The Identity's
// lists and map are shared with other requests: do not change them.
func (a *Authenticator) Bearer(ctx context.Context, token string) (Identity, error) {
	if len(token) > maxToken { // before it is hashed
		return Identity{}, a.refused(nil, refuse(Malformed, "longer than 48 KiB"))
	}
	now, key := a.now(), tokenKey(token)
	if id := a.cache.find(key, now); id != nil {
		a.meter.accepted(id.Issuer)
		return *id, nil
	}
	t, err := parse(token)
	if err != nil {
		return Identity{}, a.refused(nil, err)
	}
	claims, i, err := a.pick(t)
	if err != nil {
		return Identity{}, a.refused(nil, err)
	}
	keys, err := i.verify(ctx, t)
	if err != nil {
		return Identity{}, a.refused(i, err)
	}
	// From here on the claims are the issuer's words. To verify may have taken a
	// while.
	now = a.now()
	id, err := i.accept(t, claims, now)
	if err != nil {
		return Identity{}, a.refused(i, err)
	}
	until := now.Add(cacheLife)
	for _, end := range []time.Time{id.Expires, keys.confirmed.Add(i.keys.maxAge)} {
		if end.Before(until) {
			until = end
		}
	}
	if now.Before(until) {
		a.cache.add(&entry{key: key, identity: id, keys: i.keys, generation: keys.generation, until: until})
	}
	a.meter.accepted(i.name)
	return *id, nil
}

// pick reads the claims and finds the issuer they name. That name is not
// verified yet and decides nothing but whose keys will verify it. Hence it is
// compared byte for byte: a slash, a case or a prefix makes another issuer.
func (a *Authenticator) pick(t jws) (object, *issuer, error) {
	claims, err := decode(t.payload)
	if err != nil {
		return nil, nil, &Error{Reason: Invalid, Err: err}
	}
	iss, ok := claims.text("iss")
	if !ok {
		return nil, nil, refuse(Invalid, "iss is missing or not a string")
	}
	i := a.byURL[iss]
	if i == nil {
		return nil, nil, refuse(UnknownIssuer, "iss is none of the configured issuers")
	}
	return claims, i, nil
}

// verify checks the signature, with an algorithm the operator allows.
func (i *issuer) verify(ctx context.Context, t jws) (*snapshot, error) {
	if !slices.Contains(i.algorithms, t.alg) {
		return nil, refuse(Invalid, "alg is not among the issuer's algorithms")
	}
	return i.keys.verify(ctx, t)
}

// accept judges verified claims and turns them into an Identity.
func (r *rules) accept(t jws, claims object, now time.Time) (*Identity, error) {
	if err := r.top.check(claims); err != nil {
		return nil, &Error{Reason: Invalid, Err: err}
	}
	if err := r.judge(t, claims); err != nil {
		return nil, err
	}
	id, err := r.identify(claims)
	if err != nil {
		return nil, err
	}
	return id, r.times(claims, now)
}

// refused counts a refusal and names its issuer.
func (a *Authenticator) refused(i *issuer, err error) error {
	refusal, ok := errors.AsType[*Error](err)
	if !ok { // every path above makes one; should one not, the answer is still no
		refusal = &Error{Reason: Invalid, Err: errors.New("not accepted")}
	}
	if i != nil {
		refusal.Issuer = i.name
	}
	a.meter.refused(refusal)
	return refusal
}
