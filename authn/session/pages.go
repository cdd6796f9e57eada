package session

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vaultspan/vaultspan/authn"
)

//go:embed page.html
var pageHTML string

//go:embed style.css
var styleCSS string

var page = template.Must(template.New("page").Parse(pageHTML))

// MaxLogo is the most bytes that a logo may have.
const MaxLogo = 256 << 10

// theme is a Theme made ready.
type theme struct {
	name, help string
	origin     string // url's
	css        []byte
	logo       []byte
	logoType   string
}

func newTheme(t Theme, public *url.URL) (theme, error) {
	ready := theme{
		name: cmp.Or(t.Name, public.Hostname()), help: t.Help, origin: public.Scheme + "://" + public.Host,
		css: []byte(strings.ReplaceAll(styleCSS, defaultColour, cmp.Or(t.Colour, defaultColour))),
	}
	if t.Logo == "" {
		return ready, nil
	}
	text, err := os.ReadFile(t.Logo)
	if err != nil {
		return theme{}, fmt.Errorf("sessions.theme.logo: %w", err)
	}
	if len(text) > MaxLogo {
		return theme{}, errors.New("sessions.theme.logo: larger than 256KiB")
	}
	ready.logo, ready.logoType = text, logoType(t.Logo)
	return ready, nil
}

func logoType(name string) string {
	return map[string]string{".png": "image/png", ".svg": "image/svg+xml"}[strings.ToLower(filepath.Ext(name))]
}

// view is what a page shows.
type view struct {
	Name, Logo, Title string
	Text              []string
	Choices           []choice
	Button            string // of a form that is posted to Action
	Action            string
	Link, LinkText    string
	Trace             string
}

type choice struct{ Title, Link string }

// show writes a page. It needs no script, cannot be framed, and loads nothing
// from elsewhere.
func (m *Manager) show(w http.ResponseWriter, r *http.Request, status int, v view) {
	v.Name = m.theme.name
	if m.theme.logo != nil {
		v.Logo = logoPath
	}
	var text bytes.Buffer
	if err := page.Execute(&text, v); err != nil { // unreachable: strings
		http.Error(w, v.Title, status)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action "+m.formAction()+"; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(text.Bytes())
	}
}

// formAction are where our one form may lead: here, and on to a provider's
// logout, since browsers hold redirects to it too.
func (m *Manager) formAction() string {
	sources := []string{"'self'"}
	for _, c := range m.clients {
		if u, err := url.Parse(c.EndSession("", "")); err == nil && u.Host != "" {
			sources = append(sources, u.Scheme+"://"+u.Host)
		}
	}
	slices.Sort(sources)
	return strings.Join(slices.Compact(sources), " ")
}

func (m *Manager) style(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=300")
	w.Write(m.theme.css)
}

func (m *Manager) logo(w http.ResponseWriter, r *http.Request) {
	if m.theme.logo == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", m.theme.logoType)
	w.Header().Set("Cache-Control", "max-age=300")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox") // an SVG is a document
	w.Write(m.theme.logo)
}

// chooser lists the issuers.
func (m *Manager) chooser(w http.ResponseWriter, r *http.Request) {
	if len(m.clients) == 0 {
		m.fail(w, r, notHere)
		return
	}
	v := view{Title: "Sign in", Text: []string{"Choose where to sign in."}}
	for _, c := range m.clients {
		v.Choices = append(v.Choices, choice{c.Title(), visitOf(r).link(c.Name())})
	}
	m.show(w, r, http.StatusOK, v)
}

func (m *Manager) logoutForm(w http.ResponseWriter, r *http.Request) {
	m.show(w, r, http.StatusOK, view{Title: "Sign out", Text: []string{"You will need to sign in again to come back."}, Button: "Sign out", Action: logoutPath})
}

func (m *Manager) signedOut(w http.ResponseWriter, r *http.Request) {
	m.show(w, r, http.StatusOK, view{Title: "You are signed out", Link: loginPath, LinkText: "Sign in again"})
}

// failure is what went wrong, for the person.
type failure struct {
	status int
	title  string
	text   []string
	again  bool // offer to sign in
}

var (
	unasked = failure{400, "This sign-in cannot be finished", []string{
		"It was not begun in this browser, was finished already, or took longer than ten minutes.",
		"If your browser blocks cookies, allow them for this site.",
	}, true}
	framed    = failure{403, "Open this page by itself", []string{"Nobody signs in inside another page."}, false}
	crossSite = failure{403, "Sign out here", []string{"Another site asked to sign you out. Nothing happened."}, false}
	circling  = failure{400, "Signing in does not work", []string{
		"You have signed in three times within a minute, and were asked again each time.",
		"If your browser blocks cookies, allow them for this site. If your device's clock is wrong, set it.",
	}, false}
	notHere    = failure{404, "There is nothing to sign in to", []string{"No issuer is configured for people to sign in at."}, false}
	turnedAway = failure{403, "You were not signed in", []string{"The sign-in was cancelled or refused where you sign in."}, true}
	noProvider = failure{503, "Signing in does not work at the moment", []string{
		"Where you sign in could not be reached, or answered with an error. Load this page again in a minute.",
	}, true}
	noStore = failure{503, "Signing in does not work at the moment", []string{"Sessions cannot be stored. Try again in a minute."}, true}
	tooWeak = failure{403, "You need to sign in another way", []string{
		"This page asks for a more recent or a stronger sign-in, such as one with a second factor. Where you sign in did not do that.",
		"Try again, or quote the id below to an operator.",
	}, true}
	oddLink     = failure{400, "This link does not work", []string{"It asks for a sign-in that there is none of. Go back to the page that you came for."}, false}
	badProvider = failure{502, "You were not signed in", []string{
		"The answer from where you sign in was not accepted.", "An operator finds the reason in the log, by the id below.",
	}, true}
)

func elsewhere(origin string) failure {
	return failure{404, "Nobody signs in here", []string{"Sign in at " + origin + "."}, false}
}

// fail shows what went wrong, and writes it down by the id that it shows.
func (m *Manager) fail(w http.ResponseWriter, r *http.Request, f failure) {
	m.logger.InfoContext(r.Context(), "a page said why nobody was signed in or out", "page", f.title, "request", visitOf(r).trace)
	m.explain(w, r, f)
}

// explain shows what went wrong.
func (m *Manager) explain(w http.ResponseWriter, r *http.Request, f failure) {
	v := view{Title: f.title, Text: f.text, Trace: visitOf(r).trace}
	if f.again {
		v.Link, v.LinkText = visitOf(r).link(""), "Try again"
	}
	m.show(w, r, f.status, v)
}

// lost answers an authorization response that nobody here asked for, or that is
// spent.
func (m *Manager) lost(w http.ResponseWriter, r *http.Request) {
	m.meter.login(r.Context(), cmp.Or(visitOf(r).issuer, nobody), wasUnasked)
	m.fail(w, r, unasked)
}

// failed logs an error and shows what it means. Its text is the operator's.
func (m *Manager) failed(w http.ResponseWriter, r *http.Request, err error) {
	f, how := badProvider, outcome(err)
	if refusal, ok := errors.AsType[*authn.Error](err); ok {
		switch refusal.Reason {
		case authn.Unavailable:
			f = noProvider
		case authn.NoStore:
			f = noStore
		case authn.Refused:
			f, how = unasked, wasUnasked // the code was used, or is too old
		case authn.Insufficient:
			f = tooWeak
		}
	}
	m.logger.WarnContext(r.Context(), "somebody could not sign in", "request", visitOf(r).trace, "error", err.Error())
	if issuer := visitOf(r).issuer; issuer != "" { // else it is no login that failed
		m.meter.login(r.Context(), issuer, how)
	}
	m.explain(w, r, f)
}

// answers are the codes of RFC 6749 section 4.1.2.1 and OpenID Connect Core
// section 3.1.2.6. A provider's own words are not shown or logged: whoever
// makes the link chooses them.
var answers = []string{
	"access_denied", "invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope", "server_error",
	"temporarily_unavailable", "interaction_required", "login_required", "account_selection_required", "consent_required",
}

// turnedAway answers an authorization response that is an error.
func (m *Manager) turnedAway(w http.ResponseWriter, r *http.Request, code string) {
	if !slices.Contains(answers, code) {
		code = "another error"
	}
	m.logger.WarnContext(r.Context(), "an issuer did not log somebody in", "issuer", visitOf(r).issuer, "answer", code, "request", visitOf(r).trace)
	shown, how := badProvider, wasRefused
	switch code {
	case "server_error", "temporarily_unavailable":
		shown, how = noProvider, unavailable
	case "access_denied", "interaction_required", "login_required", "account_selection_required", "consent_required":
		shown, how = turnedAway, wasDenied
	}
	m.meter.login(r.Context(), visitOf(r).issuer, how)
	m.explain(w, r, shown)
}

// Page shows why a request was refused, on a route for people.
func (m *Manager) Page(w http.ResponseWriter, r *http.Request, n authn.Notice) {
	v := view{Title: n.Title, Trace: n.Trace}
	if n.Title != "" {
		v.Title = strings.ToUpper(n.Title[:1]) + n.Title[1:]
	}
	if n.Reason != "" {
		v.Text = append(v.Text, n.Reason)
	}
	switch {
	case n.Code == "origin-denied":
		v.Title, v.Text = "Nothing was done", []string{"Another site had your browser send this. If you want it done, do it here."}
	case n.Status == http.StatusForbidden:
		if n.Code == "denied" {
			v.Title = "You have no access to this"
		}
		if n.Who != "" {
			v.Text = append(v.Text, "You are signed in as "+n.Who+".")
		}
		v.Text = append(v.Text, cmp.Or(m.theme.help, "To ask for access, quote the id below to an operator."))
		v.Link, v.LinkText = logoutPath, "Sign in as somebody else"
	case n.Status == http.StatusUnauthorized: // of tokens, which a person has not heard of
		if n.Reason == "" {
			v.Title = "You are not signed in"
		}
		v.Text = append(v.Text, "What you sent was not taken. If another site sent you here, nothing was done.")
		v.Link, v.LinkText = cmp.Or(n.SignIn, loginPath), "Sign in"
	case n.Status >= http.StatusInternalServerError:
		v.Text = append(v.Text, "Try again in a minute. If it goes on, quote the id below to an operator.")
	}
	m.show(w, r, n.Status, v)
}
