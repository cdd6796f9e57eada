package devidp_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/vaultspan/vaultspan/authn/devidp"
)

// told is a client's back-channel logout endpoint.
type told struct {
	url string

	mu     sync.Mutex
	tokens []string
}

func newTold(t *testing.T) *told {
	c := &told{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			http.Error(w, "want a form", http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.tokens = append(c.tokens, r.PostFormValue("logout_token"))
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// take returns the claims of the tokens that came, and forgets them.
func (c *told) take(t *testing.T) []map[string]any {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []map[string]any
	for _, token := range c.tokens {
		all = append(all, part(t, token, 1))
	}
	c.tokens = nil
	return all
}

// part decodes the header (0) or the claims (1) of a token.
func part(t *testing.T, token string, n int) map[string]any {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[n])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// two is a provider with two clients, web and mail, that want to be told.
func two(t *testing.T) (p *devidp.Provider, web, mail *told) {
	web, mail = newTold(t), newTold(t)
	people, _ := devidp.Cast()
	secret := func() string { return "s" }
	back := []string{"http://127.0.0.1/callback"}
	p = start(t, devidp.Config{People: people, Clients: []devidp.Client{
		{ID: "web", Secret: secret, RedirectURIs: back, PostLogoutRedirectURIs: []string{"http://127.0.0.1/out"}, BackChannelLogoutURI: web.url},
		{ID: "mail", Secret: secret, RedirectURIs: back, BackChannelLogoutURI: mail.url},
		{ID: "deaf", Secret: secret, RedirectURIs: back, PostLogoutRedirectURIs: []string{"http://127.0.0.1/deaf"}},
	}})
	return p, web, mail
}

// logIn logs a person in to a client with this browser.
func (b *browser) logIn(t *testing.T, p *devidp.Provider, client, person string, options ...oauth2.AuthCodeOption) *oauth2.Token {
	t.Helper()
	cfg, _ := clientOf(t, p, client, "s")
	verifier := oauth2.GenerateVerifier()
	q := b.click(t, cfg.AuthCodeURL("st", append(options, oauth2.S256ChallengeOption(verifier))...), person)
	token, err := cfg.Exchange(t.Context(), q.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func idToken(t *testing.T, token *oauth2.Token) (raw string, claims map[string]any) {
	t.Helper()
	raw, _ = token.Extra("id_token").(string)
	return raw, part(t, raw, 1)
}

// A client with an id_token_hint signs its person out: the browser goes back to
// where the client registered, with state; every client of the sign-in is told,
// and none can refresh.
func TestLogoutLeadsBackAndTellsTheClients(t *testing.T) {
	p, web, mail := two(t)
	b, elsewhere := newBrowser(p), newBrowser(p)
	atWeb, atMail, other := b.logIn(t, p, "web", "alice"), b.logIn(t, p, "mail", "alice"), elsewhere.logIn(t, p, "web", "alice")
	hint, claims := idToken(t, atWeb)
	_, mailClaims := idToken(t, atMail)
	_, otherClaims := idToken(t, other)
	if claims["sid"] == nil || claims["sid"] != mailClaims["sid"] || claims["sid"] == otherClaims["sid"] {
		t.Errorf("sid %v and %v in one browser, %v in another", claims["sid"], mailClaims["sid"], otherClaims["sid"])
	}
	b.left = nil
	resp, err := b.Get(p.Issuer() + "/end_session?" + url.Values{
		"id_token_hint": {hint}, "client_id": {"web"}, "post_logout_redirect_uri": {"http://127.0.0.1/out"}, "state": {"s t"},
	}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if b.left == nil || b.left.String() != "http://127.0.0.1/out?state=s+t" {
		t.Errorf("led to %v (%s)", b.left, resp.Status)
	}
	for name, c := range map[string]*told{"web": web, "mail": mail} {
		got := c.take(t)
		if len(got) != 1 {
			t.Errorf("%s was told %d times", name, len(got))
			continue
		}
		if got[0]["iss"] != p.Issuer() || got[0]["sub"] != "alice" || got[0]["aud"] != name || got[0]["sid"] != claims["sid"] || got[0]["nonce"] != nil {
			t.Errorf("%s was told %v", name, got[0])
		}
		for _, claim := range []string{"iat", "exp", "jti", "events"} {
			if got[0][claim] == nil {
				t.Errorf("%s: no %s", name, claim)
			}
		}
	}
	if refreshes(t, p, "web", atWeb) == nil || refreshes(t, p, "mail", atMail) == nil {
		t.Error("a refresh token of the sign-in that ended works")
	}
	if err := refreshes(t, p, "web", other); err != nil {
		t.Errorf("the sign-in in another browser ended too: %v", err)
	}
}

// What does not show that it comes from the client, or wants to go where the
// client did not register, goes nowhere: the end_session endpoint is no open
// redirect.
func TestLogoutIsRefused(t *testing.T) {
	p, web, _ := two(t)
	b := newBrowser(p)
	hint, _ := idToken(t, b.logIn(t, p, "web", "alice"))
	b.left = nil
	elsewhere := start(t, devidp.Config{})
	token, err := elsewhere.Login(t.Context(), "vaultspan", "alice")
	if err != nil {
		t.Fatal(err)
	}
	foreign, _ := idToken(t, token)
	const out = "http://127.0.0.1/out"
	for name, q := range map[string]url.Values{
		"unregistered":          {"id_token_hint": {hint}, "post_logout_redirect_uri": {"https://evil.test/"}},
		"another path":          {"id_token_hint": {hint}, "post_logout_redirect_uri": {out + "/"}},
		"another port":          {"id_token_hint": {hint}, "post_logout_redirect_uri": {"http://127.0.0.1:81/out"}},
		"with a query":          {"id_token_hint": {hint}, "post_logout_redirect_uri": {out + "?x"}},
		"of another client":     {"client_id": {"web"}, "post_logout_redirect_uri": {"http://127.0.0.1/deaf"}},
		"of no client":          {"post_logout_redirect_uri": {out}},
		"an unknown client":     {"client_id": {"nobody"}, "post_logout_redirect_uri": {out}},
		"hint of another":       {"id_token_hint": {hint}, "client_id": {"mail"}, "post_logout_redirect_uri": {out}},
		"hint of another place": {"id_token_hint": {foreign}, "post_logout_redirect_uri": {out}},
		"a hint that is none":   {"id_token_hint": {"x.y.z"}, "post_logout_redirect_uri": {out}},
	} {
		status, body := open(t, b, p.Issuer()+"/end_session?"+q.Encode())
		if status != http.StatusBadRequest || !strings.Contains(body, "Signing out did not work") || b.left != nil {
			t.Errorf("%s: %d to %v\n%s", name, status, b.left, body)
		}
	}
	if n := len(web.take(t)); n > 0 {
		t.Errorf("told of %d logouts", n)
	}
	if status, body := open(t, b, p.Issuer()+"/account?person=alice"); status != 200 || !strings.Contains(body, "<li>web</li>") {
		t.Errorf("not signed in any more: %d %s", status, body)
	}
}

// Without a hint the person is asked; only that page's own button signs out.
func TestLogoutAsksWithoutAHint(t *testing.T) {
	p, web, _ := two(t)
	b := newBrowser(p)
	b.logIn(t, p, "web", "alice")
	b.left = nil
	q := url.Values{"client_id": {"web"}, "post_logout_redirect_uri": {"http://127.0.0.1/out"}, "state": {"s"}}
	if status, body := open(t, b, p.Issuer()+"/end_session?"+q.Encode()); status != 200 || !strings.Contains(body, "Sign out?") || b.left != nil {
		t.Fatalf("%d to %v: %s", status, b.left, body)
	}
	q.Set("confirm", "yes")
	r, _ := http.NewRequest(http.MethodPost, p.Issuer()+"/end_session", strings.NewReader(q.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "https://evil.test")
	if status, body := send(t, b.Client, r); status != 200 || !strings.Contains(body, "Sign out?") {
		t.Errorf("from another site: %d %s", status, body)
	}
	if n := len(web.take(t)); n > 0 {
		t.Errorf("told of %d logouts", n)
	}
	resp, err := b.PostForm(p.Issuer()+"/end_session", q)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if b.left == nil || b.left.String() != "http://127.0.0.1/out?state=s" || len(web.take(t)) != 1 {
		t.Errorf("the button led to %v", b.left)
	}
	if status, body := open(t, b, p.Issuer()+"/end_session"); status != 200 || !strings.Contains(body, "You are signed out") {
		t.Errorf("once more, from nowhere: %d %s", status, body)
	}
}

// On their page a person ends all sign-ins; each client is told once for each.
func TestSignOutEverywhere(t *testing.T) {
	p, web, mail := two(t)
	one, other := newBrowser(p), newBrowser(p)
	one.logIn(t, p, "web", "alice")
	atMail := other.logIn(t, p, "mail", "alice")
	other.logIn(t, p, "web", "alice")
	carol := newBrowser(p).logIn(t, p, "web", "carol")
	form := url.Values{"person": {"alice"}, "do": {"sign-out"}}
	r, _ := http.NewRequest(http.MethodPost, p.Issuer()+"/account", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if status, _ := send(t, http.DefaultClient, r); status != http.StatusForbidden {
		t.Errorf("from another site: %d, want 403", status)
	}
	resp, err := http.PostForm(p.Issuer()+"/account", form)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if !strings.Contains(string(body), "Signed out everywhere") || !strings.Contains(string(body), "no application") {
		t.Errorf("%s: %s", resp.Status, body)
	}
	if atWeb, atMail := web.take(t), mail.take(t); len(atWeb) != 2 || len(atMail) != 1 || atWeb[0]["sid"] == atWeb[1]["sid"] || atWeb[0]["jti"] == atWeb[1]["jti"] {
		t.Errorf("told %v and %v", atWeb, atMail)
	}
	if refreshes(t, p, "mail", atMail) == nil {
		t.Error("a refresh token still works")
	}
	if err := refreshes(t, p, "web", carol); err != nil {
		t.Errorf("carol was signed out: %v", err)
	}
}

// A client that cannot be reached does not stop the rest, and is named.
func TestSignOutNamesWhomItCannotTell(t *testing.T) {
	people, _ := devidp.Cast()
	web := newTold(t)
	moved := httptest.NewServer(http.RedirectHandler(web.url, http.StatusTemporaryRedirect))
	t.Cleanup(moved.Close)
	client := func(id, uri string) devidp.Client {
		return devidp.Client{ID: id, Secret: func() string { return "s" }, RedirectURIs: []string{"http://127.0.0.1/callback"}, BackChannelLogoutURI: uri}
	}
	p := start(t, devidp.Config{People: people, Clients: []devidp.Client{client("web", web.url), client("gone", "http://127.0.0.1:1/"), client("moved", moved.URL)}})
	b := newBrowser(p)
	for _, id := range []string{"web", "gone", "moved"} {
		b.logIn(t, p, id, "alice")
	}
	err := p.SignOut(t.Context(), "alice")
	if err == nil || !strings.Contains(err.Error(), "client gone") || !strings.Contains(err.Error(), "client moved: it answers 307") || strings.Contains(err.Error(), "client web") {
		t.Errorf("%v", err)
	}
	if n := len(web.take(t)); n != 1 {
		t.Errorf("web was told %d times, want once and not through the one that moved", n)
	}
}

func TestBackChannelURIsAreOnLoopback(t *testing.T) {
	for _, uri := range []string{"http://192.0.2.1/", "https://example.com/", "ftp://127.0.0.1/", "http://u@127.0.0.1/", "/x"} {
		if _, err := devidp.New(devidp.Config{Issuer: "http://127.0.0.1:1", Clients: []devidp.Client{{ID: "web", BackChannelLogoutURI: uri}}}); err == nil {
			t.Errorf("%s is accepted", uri)
		}
	}
}

// A verifier that is not ours takes a logout token for what it is.
func TestLogoutTokensVerify(t *testing.T) {
	p, web, _ := two(t)
	newBrowser(p).logIn(t, p, "web", "alice")
	if err := p.SignOut(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	_, provider := clientOf(t, p, "web", "s")
	if _, err := provider.Verifier(&oidc.Config{ClientID: "web"}).Verify(t.Context(), web.tokens[0]); err != nil {
		t.Error(err)
	}
	if h := part(t, web.tokens[0], 0); h["typ"] != "logout+jwt" {
		t.Errorf("header %v", h)
	}
}

// open reads a page.
func open(t *testing.T, b *browser, to string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	return send(t, b.Client, r)
}
