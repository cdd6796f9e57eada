package session

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/singleflight"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// reserved is where our pages are, on every host that people log in to.
const reserved = "/.vaultspan"

const (
	believe    = 2 * time.Second        // an answer of the store
	budget     = 250 * time.Millisecond // for the store to answer
	touchEvery = time.Minute
	maxBelieve = 20000 // sessions remembered at once
)

// Issuers is where people log in. *authn.Authenticator is it.
type Issuers interface {
	Clients() []*authn.Client
	Logout(ctx context.Context, token string) (authn.Logout, error)
}

// Change is a session that began or ended.
type Change struct {
	Handle  string
	Issuer  string
	Subject string
	Why     string // it ended; empty when it began
}

// Setup is what a Manager is made of.
type Setup struct {
	Config Config // checked: see Config.Check
	// URL is how callers reach the gateway. People log in on its host.
	URL *url.URL
	// Hosts are further hosts that people log in on.
	Hosts []string
	// Issuers is required.
	Issuers Issuers
	// Store is required. The Manager does not close it.
	Store Store
	// Logger is told why somebody could not log in. Default: nobody is.
	Logger *slog.Logger
	// Meter counts logins, refreshes and ends. Default: nobody does.
	Meter metric.MeterProvider
	// OnChange is told of every session that begins or ends here. Default: nobody
	// is.
	OnChange func(Change)
	// Now is the time by which sessions are judged. Default: time.Now.
	Now func() time.Time
}

// Manager logs people in and out and says who a session is of.
type Manager struct {
	keys     keyring
	idle     time.Duration
	absolute time.Duration
	refresh  time.Duration
	theme    theme
	origins  map[string]string // host → origin
	issuers  Issuers
	clients  []*authn.Client
	store    Store
	logger   *slog.Logger
	meter    *meter
	onChange func(Change)
	now      func() time.Time
	mux      *http.ServeMux
	flights  singleflight.Group
	swept    atomic.Int64 // when, in milliseconds

	life   context.Context // ends soon after Close is called
	stop   context.CancelFunc
	behind sync.WaitGroup // what outlives its request: see begin

	mu     sync.Mutex
	known  map[Key]*live
	closed bool
}

// New returns a Manager. It runs nothing in the background but what outlives a
// request for a moment, which Close ends: refreshes, and tokens given back.
func New(s Setup) (*Manager, error) {
	if s.Config.Key == nil {
		return nil, errors.New("sessions.key is missing")
	}
	keys, err := parseKeys(s.Config.Key())
	if err != nil {
		return nil, fmt.Errorf("sessions.key: %w", err)
	}
	m := &Manager{
		keys:     keyring{keys},
		idle:     cmp.Or(s.Config.Idle, defaultIdle),
		absolute: cmp.Or(s.Config.Absolute, defaultAbsolute),
		refresh:  cmp.Or(s.Config.Refresh, defaultRefresh),
		origins:  origins(s.URL, s.Hosts),
		issuers:  s.Issuers,
		clients:  s.Issuers.Clients(),
		logger:   s.Logger,
		onChange: s.OnChange,
		now:      s.Now,
		known:    map[Key]*live{},
	}
	if m.logger == nil {
		m.logger = slog.New(slog.DiscardHandler)
	}
	if m.now == nil {
		m.now = time.Now
	}
	if m.theme, err = newTheme(s.Config.Theme, s.URL); err != nil {
		return nil, err
	}
	names := make([]string, len(m.clients))
	for i, c := range m.clients {
		names[i] = c.Name()
	}
	if m.meter, err = newMeter(s.Meter, names); err != nil {
		return nil, err
	}
	m.store = measured{s.Store, m.meter}
	m.life, m.stop = context.WithCancel(context.Background())
	m.mux = m.routes()
	return m, nil
}

// Identify says who the session on a request speaks for. id names it to Recheck
// and is empty only if the request has no session cookie at all. An error is an
// *authn.Error: a session that is over is Revoked, one that never was is Invalid.
func (m *Manager) Identify(ctx context.Context, cookieFields []string) (id string, identity authn.Identity, err error) {
	value, present, ambiguous := sessionCookie(cookieFields)
	if ambiguous {
		return "*", authn.Identity{}, refuse(authn.Ambiguous, "two session cookies")
	}
	if !present {
		return "", authn.Identity{}, nil
	}
	key, ok := parseID(value)
	if !ok {
		return "*", authn.Identity{}, refuse(authn.Invalid, "the session cookie is not one of ours")
	}
	if s := trace.SpanFromContext(ctx); s.IsRecording() {
		s.SetAttributes(attr.Session.String(m.keys.handle(key)))
	}
	identity, err = m.Recheck(ctx, hex.EncodeToString(key[:]))
	return hex.EncodeToString(key[:]), identity, err
}

// Recheck says who a session that Identify named speaks for by now.
func (m *Manager) Recheck(ctx context.Context, id string) (authn.Identity, error) {
	var key Key
	if n, err := hex.Decode(key[:], []byte(id)); err != nil || n != len(key) {
		return authn.Identity{}, refuse(authn.Invalid, "not a session")
	}
	l, err := m.find(ctx, key)
	if err != nil {
		return authn.Identity{}, err
	}
	if m.due(l) {
		if l, err = m.renew(ctx, l); err != nil {
			return authn.Identity{}, err
		}
	}
	if !m.now().Before(l.tokens.Until) {
		return authn.Identity{}, refuse(authn.Revoked, "what the issuer vouched for is over, and it cannot be asked")
	}
	m.touch(ctx, l)
	identity := l.tokens.Identity
	identity.Expires = l.end()
	return identity, nil
}

// start makes a session of a login, and returns its cookie's value.
func (m *Manager) start(ctx context.Context, t authn.Tokens) (string, error) {
	value, key := newID()
	now := m.now()
	r := Record{
		Key: key, Handle: m.keys.handle(key), Issuer: t.Identity.Issuer, Subject: t.Identity.Subject, SessionID: t.SessionID,
		Created: now, Used: now, Ends: now.Add(m.absolute), Refresh: m.nextRefresh(t), Version: 1,
	}
	var err error
	if r.Sealed, err = m.sealed(r, t); err != nil {
		return "", err
	}
	within, cancel := context.WithTimeout(ctx, 4*budget)
	defer cancel()
	if err := m.store.Add(within, r); err != nil {
		return "", unreadable(err)
	}
	m.sweep(ctx)
	trace.SpanFromContext(ctx).SetAttributes(attr.Session.String(r.Handle))
	m.logger.InfoContext(ctx, "a session began", "session", r.Handle, "issuer", r.Issuer)
	m.changed(r, "")
	return value, nil
}

// nextRefresh is when the issuer is to be asked again: before what it gave runs
// out, and never when it gave nothing to ask with.
func (m *Manager) nextRefresh(t authn.Tokens) time.Time {
	if t.Refresh() == "" {
		return time.Time{}
	}
	next := m.now().Add(m.refresh)
	if early := t.Until.Add(-30 * time.Second); early.Before(next) {
		next = early
	}
	return next
}

// end ends sessions, and this node's belief in them.
func (m *Manager) end(ctx context.Context, f Filter, why string) (int, error) {
	limit := 4 * budget
	if f.Handle == "" { // of ten thousand sessions, say: 2 s in SQLite
		limit = 40 * budget
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	ended, err := m.store.End(within, f, why)
	for _, r := range ended { // some may have, where it failed then
		over := r
		over.Ended, over.Sealed, over.Version = why, nil, r.Version+1
		m.believe(&live{Record: over, read: m.now()})
		m.logger.InfoContext(ctx, "a session ended", "session", r.Handle, "issuer", r.Issuer, "why", why)
		m.changed(r, why)
		m.meter.end(ctx, why)
	}
	if why != WhyBackChannel && why != WhyRefused { // else the issuer knows best
		m.giveBack(ctx, ended)
	}
	if err != nil {
		return len(ended), unreadable(err)
	}
	return len(ended), nil
}

// client is this gateway at an issuer, or nil where nobody logs in any more.
func (m *Manager) client(name string) *authn.Client {
	if i := slices.IndexFunc(m.clients, func(c *authn.Client) bool { return c.Name() == name }); i >= 0 {
		return m.clients[i]
	}
	return nil
}

func (m *Manager) changed(r Record, why string) {
	if m.onChange != nil {
		m.onChange(Change{Handle: r.Handle, Issuer: r.Issuer, Subject: r.Subject, Why: why})
	}
}

// sweep forgets old sessions, at most once a minute and only as there are new
// ones.
func (m *Manager) sweep(ctx context.Context) {
	now, last := m.now(), m.swept.Load()
	if now.Sub(time.UnixMilli(last)) < time.Minute || !m.swept.CompareAndSwap(last, now.UnixMilli()) {
		return
	}
	within, cancel := context.WithTimeout(ctx, 4*budget)
	defer cancel()
	if err := m.store.Sweep(within, now); err != nil {
		m.logger.WarnContext(ctx, "the store of sessions could not be swept, or is unfit", "error", err.Error())
	}
}

// refuse builds an error whose text is a constant.
func refuse(reason authn.Reason, text string) *authn.Error {
	return authn.SessionError(reason, errors.New(text))
}

// unreadable says that the store failed. Drivers' errors name files and
// addresses, never what was stored.
func unreadable(err error) *authn.Error {
	return authn.SessionError(authn.NoStore, fmt.Errorf("sessions cannot be read or written: %w", err))
}
