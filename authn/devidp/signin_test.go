package devidp_test

import (
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/vaultspan/vaultspan/authn/devidp"
)

func refreshes(t *testing.T, p *devidp.Provider, client string, token *oauth2.Token) error {
	t.Helper()
	cfg, _ := clientOf(t, p, client, "s")
	next, err := cfg.TokenSource(t.Context(), &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
	if err == nil {
		*token = *next
	} else if !strings.Contains(err.Error(), "invalid_grant") {
		t.Errorf("refused with %v, want invalid_grant", err)
	}
	return err
}

// Whoever is disabled cannot sign in, and their refresh tokens are dead, also
// once they are enabled again. A revoked refresh token (RFC 7009) takes its
// successors with it.
func TestRefreshTokensDie(t *testing.T) {
	p, _, _ := two(t)
	b := newBrowser(p)
	alice, carol := b.logIn(t, p, "web", "alice"), newBrowser(p).logIn(t, p, "web", "carol")
	if err := refreshes(t, p, "web", alice); err != nil {
		t.Fatal(err)
	}
	p.Disable("alice")
	if refreshes(t, p, "web", alice) == nil {
		t.Error("a refresh token of somebody disabled works")
	}
	if token, err := p.Token(t.Context(), "alice"); err == nil {
		t.Errorf("somebody disabled gets a token: %s", token)
	}
	if _, err := p.Login(t.Context(), "web", "alice"); err == nil {
		t.Error("somebody disabled logs in")
	}
	p.Enable("alice")
	if refreshes(t, p, "web", alice) == nil {
		t.Error("it works once they are enabled again")
	}
	b.logIn(t, p, "web", "alice")

	before := carol.RefreshToken
	revoke := func(client, secret, token string) int {
		r, _ := http.NewRequest(http.MethodPost, p.Issuer()+"/revoke", strings.NewReader(url.Values{"token": {token}, "token_type_hint": {"refresh_token"}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(client, secret)
		status, _ := send(t, http.DefaultClient, r)
		return status
	}
	if status := revoke("web", "wrong", before); status != http.StatusUnauthorized {
		t.Errorf("with a wrong secret: %d", status)
	}
	if status := revoke("mail", "s", before); status != http.StatusOK {
		t.Errorf("by another client: %d", status)
	}
	if err := refreshes(t, p, "web", carol); err != nil {
		t.Errorf("another client revoked it: %v", err)
	}
	if status := revoke("web", "s", before); status != http.StatusOK || refreshes(t, p, "web", carol) == nil {
		t.Errorf("%d, and the successor of a revoked token works", status)
	}
}

// auth_time is when the person was picked, acr what was asked for first; both
// stay at a refresh. prompt=none answers for whoever is signed in, no longer ago
// than max_age, and login_required otherwise (OpenID Connect Core 3.1.2.1).
func TestPromptMaxAgeAndACR(t *testing.T) {
	p, _, _ := two(t)
	cfg, provider := clientOf(t, p, "web", "s")
	param := oauth2.SetAuthURLParam
	silent := func(b *browser, options ...oauth2.AuthCodeOption) url.Values {
		t.Helper()
		b.left = nil
		options = append(options, param("prompt", "none"), oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))
		status, body := open(t, b, cfg.AuthCodeURL("st", options...))
		if b.left == nil {
			t.Fatalf("no redirect: %d %s", status, body)
		}
		return b.left.Query()
	}
	if q := silent(newBrowser(p)); q.Get("error") != "login_required" || q.Get("state") != "st" {
		t.Errorf("nobody signed in: %v", q)
	}
	b := newBrowser(p)
	token := b.logIn(t, p, "web", "alice", param("acr_values", "phr phrh"))
	hint, first := idToken(t, token)
	if first["acr"] != "phr" || first["auth_time"] == nil {
		t.Errorf("acr %v, auth_time %v", first["acr"], first["auth_time"])
	}
	if err := refreshes(t, p, "web", token); err != nil {
		t.Fatal(err)
	}
	_, second := idToken(t, token)
	for _, claim := range []string{"sid", "acr", "auth_time", "sub"} {
		if first[claim] != second[claim] {
			t.Errorf("%s was %v, and is %v after a refresh", claim, first[claim], second[claim])
		}
	}
	for name, q := range map[string]url.Values{
		"signed in": silent(b), "with a hint": silent(b, param("id_token_hint", hint)), "young enough": silent(b, param("max_age", "3600")),
	} {
		if q.Get("code") == "" {
			t.Errorf("%s: %v", name, q)
		}
	}
	carolHint, _ := idToken(t, newBrowser(p).logIn(t, p, "web", "carol"))
	for name, q := range map[string]url.Values{
		"hint of another": silent(b, param("id_token_hint", carolHint)), "too old": silent(b, param("max_age", "0")),
	} {
		if q.Get("error") != "login_required" {
			t.Errorf("%s: %v", name, q)
		}
	}
	if _, plain := idToken(t, b.logIn(t, p, "web", "alice")); plain["acr"] != nil || plain["sid"] != first["sid"] {
		t.Errorf("picked again: acr %v, sid %v", plain["acr"], plain["sid"])
	}
	var doc map[string]any
	if err := provider.Claims(&doc); err != nil {
		t.Fatal(err)
	}
	if doc["backchannel_logout_supported"] != true || doc["backchannel_logout_session_supported"] != true || doc["revocation_endpoint"] == nil {
		t.Errorf("discovery: %v", slices.Sorted(maps.Keys(doc)))
	}
}

// Every page has a language, a title, one heading and a main landmark, and
// headers that keep it ours: no script, no frame, no other style.
func TestPagesAreWhole(t *testing.T) {
	p, _, _ := two(t)
	b := newBrowser(p)
	cfg, _ := clientOf(t, p, "web", "s")
	b.logIn(t, p, "web", "alice")
	for name, path := range map[string]string{
		"picker":       strings.TrimPrefix(cfg.AuthCodeURL("st", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())), p.Issuer()),
		"old login":    "/login?request=x",
		"people":       "/account",
		"account":      "/account?person=alice",
		"nobody":       "/account?person=nobody",
		"logout":       "/end_session",
		"wrong logout": "/end_session?post_logout_redirect_uri=x",
	} {
		resp, err := b.Get(p.Issuer() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		for _, want := range []string{`<html lang="en">`, "<title>", `name="viewport"`} {
			if !strings.Contains(string(body), want) {
				t.Errorf("%s: no %s", name, want)
			}
		}
		for _, once := range []string{"<main>", "<h1>", "</html>"} {
			if strings.Count(string(body), once) != 1 {
				t.Errorf("%s: %s is there %d times", name, once, strings.Count(string(body), once))
			}
		}
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src 'self';") || strings.Contains(string(body), "<script") {
			t.Errorf("%s: %s", name, csp)
		}
	}
	if status, _ := open(t, b, p.Issuer()+"/style.css"); status != 200 {
		t.Errorf("style: %d", status)
	}
}
