package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"go.opentelemetry.io/otel/codes"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// The pages and endpoints below reserved. All else there is a 404.
const (
	loginPath       = reserved + "/login" // with ?return=PATH, issuer=NAME and the parameters of an authn.Demand, if need be
	callbackPath    = reserved + "/callback"
	logoutPath      = reserved + "/logout"
	signedOutPath   = reserved + "/signed-out"
	backChannelPath = reserved + "/backchannel-logout"
	stylePath       = reserved + "/style.css"
	logoPath        = reserved + "/logo"
)

// anywhere are those that also hosts have on which nobody logs in: the page that
// says so has a style, and a provider knows one host.
var anywhere = []string{backChannelPath, stylePath, logoPath}

func (m *Manager) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+loginPath, m.login)
	mux.HandleFunc("GET "+callbackPath, m.callback)
	mux.HandleFunc("GET "+callbackPath+"/{issuer}", m.callback)
	mux.HandleFunc("GET "+logoutPath, m.logoutForm)
	mux.HandleFunc("POST "+logoutPath, m.logout)
	mux.HandleFunc("GET "+signedOutPath, m.signedOut)
	mux.HandleFunc("POST "+backChannelPath, m.backChannel)
	mux.HandleFunc("GET "+stylePath, m.style)
	mux.HandleFunc("GET "+logoPath, m.logo)
	return mux
}

// visit is what a handler knows of a request beside the request: host as the
// proxy checked it, the id to quote, and where a login was to lead back to, with
// what is demanded of it.
type visit struct {
	host, trace, back string
	issuer            string // at which it is; empty if there is none
	demand            authn.Demand
}

type visitKey struct{}

// Serve answers for everything below /.vaultspan/. host is the request's host,
// which the caller has found to be one of ours.
func (m *Manager) Serve(w http.ResponseWriter, r *http.Request, host, trace string) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // codes and states are in our URLs
	h.Set("X-Content-Type-Options", "nosniff")
	if _, known := m.origins[host]; !known && !slices.Contains(anywhere, r.URL.Path) {
		m.fail(w, visiting(r, visit{host: host, trace: trace}), elsewhere(m.theme.origin))
		return
	}
	m.mux.ServeHTTP(w, visiting(r, visit{host: host, trace: trace}))
}

func visiting(r *http.Request, v visit) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), visitKey{}, v))
}

func visitOf(r *http.Request) visit { v, _ := r.Context().Value(visitKey{}).(visit); return v }

// towards is the request, with where a login was to lead back to.
func towards(r *http.Request, back, issuer string, d authn.Demand) *http.Request {
	v := visitOf(r)
	v.back, v.issuer, v.demand = back, issuer, d
	return visiting(r, v)
}

// link leads to the same login, at an issuer or at whichever the person chooses.
func (v visit) link(issuer string) string {
	query := v.demand.Parameters()
	if v.back != "" && v.back != "/" {
		query.Set("return", v.back)
	}
	if issuer != "" {
		query.Set("issuer", issuer)
	}
	if len(query) == 0 {
		return loginPath
	}
	return loginPath + "?" + query.Encode()
}

// login sends a browser to the provider, or asks to which.
func (m *Manager) login(w http.ResponseWriter, r *http.Request) {
	// A login inside a frame is one that nobody sees (ASVS 7.6.2).
	if dest := r.Header.Get("Sec-Fetch-Dest"); dest != "" && dest != "document" {
		m.fail(w, r, framed)
		return
	}
	query := r.URL.Query()
	back := returnTo(query.Get("return"))
	demand, ok := authn.ParseDemand(query)
	if !ok {
		m.fail(w, r, oddLink)
		return
	}
	client := m.choose(query.Get("issuer"))
	issuer := ""
	if client != nil {
		issuer = client.Name()
	}
	r = towards(r, back, issuer, demand)
	if m.circling(r, back) {
		m.logger.WarnContext(r.Context(), "a browser logs in again and again: its cookies are lost, or its sessions end at once", "host", visitOf(r).host, "request", visitOf(r).trace)
		m.explain(w, r, circling)
		return
	}
	if client == nil {
		m.chooser(w, r)
		return
	}
	host := visitOf(r).host
	s := authn.Secrets{State: random(), Nonce: random(), Verifier: random()}
	to, err := client.Begin(r.Context(), m.origins[host]+m.callbackOf(client), s, demand)
	if err != nil {
		m.failed(w, r, err)
		return
	}
	f := flow{Issuer: client.Name(), Host: host, Return: back, Nonce: s.Nonce, Verifier: s.Verifier, Began: m.now(), Demand: demand}
	if err := m.remember(w, r, s.State, f); err != nil {
		m.failed(w, r, err)
		return
	}
	redirect(w, to)
}

// choose is the issuer that was named, or the only one.
func (m *Manager) choose(name string) *authn.Client {
	if len(m.clients) == 1 && name == "" {
		return m.clients[0]
	}
	return m.client(name)
}

// redirect sends a browser on with a GET, whatever it came with: 307 would send
// a form's body along (RFC 9700 section 4.12).
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// callback is where the provider sends the browser back to.
func (m *Manager) callback(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	for name, values := range query {
		if len(values) > 1 { // two answers are none (RFC 6749 section 3.1)
			m.logger.WarnContext(r.Context(), "an authorization response has a parameter twice", "count", len(values), "known", name == "state" || name == "code")
			m.lost(w, r)
			return
		}
	}
	state := query.Get("state")
	f, ok := m.recall(r, state)
	if !ok || f.Host != visitOf(r).host {
		m.lost(w, r)
		return
	}
	client := m.client(f.Issuer)
	if client == nil || r.URL.EscapedPath() != m.callbackOf(client) {
		m.lost(w, r)
		return
	}
	r = towards(r, f.Return, f.Issuer, f.Demand)
	if err := client.CheckIss(query.Get("iss"), query.Has("iss")); err != nil {
		setCookie(w, flowCookie(state), "", 0)
		m.failed(w, r, err)
		return
	}
	if query.Has("error") || query.Get("code") == "" {
		setCookie(w, flowCookie(state), "", 0)
		m.turnedAway(w, r, query.Get("error"))
		return
	}
	if m.already(r, f) { // another tab was faster
		setCookie(w, flowCookie(state), "", 0)
		redirect(w, f.Return)
		return
	}
	m.redeem(w, r, client, f, query.Get("code"), state)
}

// redeem makes a session of a code.
func (m *Manager) redeem(w http.ResponseWriter, r *http.Request, client *authn.Client, f flow, code, state string) {
	ctx, span := span(r.Context(), attr.SpanSignIn, f.Issuer)
	defer span.End()
	r = r.WithContext(ctx)
	if again, err := m.mayTry(ctx, f, state); err != nil {
		span.SetStatus(codes.Error, err.Error())
		m.failed(w, r, err) // the code is not spent, and the cookie stays
		return
	} else if !again {
		setCookie(w, flowCookie(state), "", 0)
		m.lost(w, r)
		return
	}
	t, err := client.Redeem(ctx, m.origins[f.Host]+m.callbackOf(client), code, f.secrets(state), f.Demand)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	if refusal, ok := errors.AsType[*authn.Error](err); ok && refusal.Reason == authn.Unavailable {
		m.failed(w, r, err) // the cookie stays: to load the page again may do
		return
	}
	setCookie(w, flowCookie(state), "", 0)
	if err != nil {
		m.failed(w, r, err)
		return
	}
	fresh, err := m.once(ctx, "code "+f.Issuer+" "+state, f.ends())
	if err == nil && !fresh {
		m.logger.WarnContext(ctx, "a login's answer came twice", "issuer", f.Issuer)
		m.lost(w, r)
		return
	}
	var value string
	if err == nil {
		value, err = m.start(ctx, t)
	}
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
		m.failed(w, r, err)
		return
	}
	m.endReplaced(r)
	setCookie(w, cookieName, value, -1)
	m.countRound(w, r, f.Return)
	m.meter.login(ctx, f.Issuer, wentWell)
	redirect(w, f.Return)
}

// already says whether this browser has a session that is younger than the
// login, and as good as this one would be: two tabs logged in at once.
func (m *Manager) already(r *http.Request, f flow) bool {
	key, ok := sessionKey(r)
	if !ok {
		return false
	}
	l, err := m.find(r.Context(), key)
	return err == nil && l.Issuer == f.Issuer && l.Created.After(f.Began) && f.Demand.Met(l.tokens.Identity, m.now())
}

// endReplaced ends the session that a login took the place of: an id from before
// it is worth nothing after it (session fixation).
func (m *Manager) endReplaced(r *http.Request) {
	key, ok := sessionKey(r)
	if !ok {
		return
	}
	handle := m.keys.handle(key)
	if l, err := m.read(r.Context(), key); err == nil {
		handle = l.Handle // of a key before this one, maybe
	}
	if _, err := m.end(r.Context(), Filter{Handle: handle}, WhyReplaced); err != nil {
		m.logger.WarnContext(r.Context(), "the session before a login could not be ended", "error", err.Error())
	}
}

// mayTry says whether a login may have the provider asked about an answer, and
// counts that. Who has a login under way could else have it asked about made-up
// codes for ten minutes, in our name and as often as they like.
func (m *Manager) mayTry(ctx context.Context, f flow, state string) (bool, error) {
	for n := range maxTries {
		first, err := m.once(ctx, fmt.Sprintf("try %d %s %s", n, f.Issuer, state), f.ends())
		if err != nil || first {
			return first, err
		}
	}
	return false, nil
}

// once says whether a thing happens for the first time until then.
func (m *Manager) once(ctx context.Context, what string, until time.Time) (bool, error) {
	within, cancel := context.WithTimeout(ctx, 4*budget)
	defer cancel()
	fresh, err := m.store.Once(within, sha256.Sum256([]byte(what)), m.now(), until)
	if err != nil {
		return false, unreadable(err)
	}
	return fresh, nil
}
