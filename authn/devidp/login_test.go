package devidp_test

import (
	"context"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/net/html"
	"golang.org/x/oauth2"

	"github.com/vaultspan/vaultspan/authn/devidp"
)

// browser follows redirects until one leaves the provider, and clicks.
type browser struct {
	*http.Client
	left *url.URL // where the last redirect out of the provider went
}

func newBrowser(p *devidp.Provider) *browser {
	b := new(browser)
	jar, _ := cookiejar.New(nil)
	b.Client = &http.Client{Jar: jar, CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(req.URL.String(), p.Issuer()+"/") {
			b.left = req.URL
			return http.ErrUseLastResponse
		}
		return nil
	}}
	return b
}

// click opens a page, presses the button of that value and returns the query of
// the callback it ends at.
func (b *browser) click(t *testing.T, page, value string) url.Values {
	t.Helper()
	resp, err := b.Get(page)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	doc, err := html.Parse(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{}
	var action string
	for n := range doc.Descendants() {
		attr := map[string]string{}
		for _, a := range n.Attr {
			attr[a.Key] = a.Val
		}
		switch {
		case n.Data == "form":
			action = attr["action"]
		case n.Data == "input", n.Data == "button" && attr["value"] == value:
			form.Set(attr["name"], attr["value"])
		}
	}
	if form.Get("person") != value {
		t.Fatalf("no button %q on the page (%s)", value, resp.Status)
	}
	to, err := resp.Request.URL.Parse(action)
	if err != nil {
		t.Fatal(err)
	}
	done, err := b.PostForm(to.String(), form)
	if err != nil {
		t.Fatal(err)
	}
	done.Body.Close()
	if b.left == nil {
		t.Fatalf("the click led nowhere: %s", done.Status)
	}
	return b.left.Query()
}

func clientOf(t *testing.T, p *devidp.Provider, id, secret string) (oauth2.Config, *oidc.Provider) {
	t.Helper()
	provider, err := oidc.NewProvider(t.Context(), p.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	return oauth2.Config{
		ClientID: id, ClientSecret: secret, Endpoint: provider.Endpoint(),
		RedirectURL: "http://127.0.0.1/callback", Scopes: []string{"openid", "offline_access"},
	}, provider
}

func TestPersonLogsInWithCodeAndPKCE(t *testing.T) {
	for _, c := range []struct{ id, secret, redirect string }{
		{"cli", "", "http://127.0.0.1:54321/callback"},
		{"vaultspan", "vaultspan-dev-secret", "http://127.0.0.1/callback"},
	} {
		t.Run(c.id, func(t *testing.T) {
			p := start(t, devidp.Config{})
			cfg, provider := clientOf(t, p, c.id, c.secret)
			cfg.RedirectURL = c.redirect
			verifier := oauth2.GenerateVerifier()
			q := newBrowser(p).click(t, cfg.AuthCodeURL("st", oauth2.S256ChallengeOption(verifier), oidc.Nonce("n")), "carol")
			if q.Get("state") != "st" {
				t.Errorf("state = %q", q.Get("state"))
			}
			token, err := cfg.Exchange(t.Context(), q.Get("code"), oauth2.VerifierOption(verifier))
			if err != nil {
				t.Fatal(err)
			}
			header, claims := mustVerify(t, p, token.AccessToken)
			want(t, header, map[string]string{"typ": `"at+jwt"`})
			want(t, claims, map[string]string{"sub": `"carol"`, "client_id": `"` + c.id + `"`, "aud": `["vaultspan"]`, "groups": `["pay"]`})

			raw, _ := token.Extra("id_token").(string)
			id, err := provider.Verifier(&oidc.Config{ClientID: c.id}).Verify(t.Context(), raw)
			if err != nil {
				t.Fatal(err)
			}
			if err := id.VerifyAccessToken(token.AccessToken); err != nil {
				t.Error(err)
			}
			var idClaims map[string]any
			if err := id.Claims(&idClaims); err != nil {
				t.Fatal(err)
			}
			want(t, idClaims, map[string]string{
				"sub": `"carol"`, "nonce": `"n"`, "groups": `["pay"]`, "realm_access.roles": `["accountant"]`,
				"email": `"carol@example.com"`, "email_verified": `true`,
			})
			info, err := provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token))
			if err != nil || info.Subject != "carol" || info.Email != "carol@example.com" {
				t.Errorf("userinfo: %+v, %v", info, err)
			}
			if _, err := cfg.Exchange(t.Context(), q.Get("code"), oauth2.VerifierOption(verifier)); err == nil {
				t.Error("the code works twice")
			}
		})
	}
}

func TestRefreshTokensRotate(t *testing.T) {
	p := start(t, devidp.Config{})
	cfg, _ := clientOf(t, p, "cli", "")
	first, err := p.Login(t.Context(), "cli", "alice")
	if err != nil {
		t.Fatal(err)
	}
	refresh := func(ctx context.Context, token string) (*oauth2.Token, error) {
		return cfg.TokenSource(ctx, &oauth2.Token{RefreshToken: token}).Token()
	}
	second, err := refresh(t.Context(), first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if second.RefreshToken == first.RefreshToken {
		t.Error("the refresh token stayed the same")
	}
	_, claims := mustVerify(t, p, second.AccessToken)
	want(t, claims, map[string]string{"sub": `"alice"`, "client_id": `"cli"`, "groups": `["dev","payments"]`})

	if _, err := refresh(t.Context(), first.RefreshToken); err == nil {
		t.Error("a used refresh token works")
	}
	if _, err := refresh(t.Context(), second.RefreshToken); err == nil {
		t.Error("its successor works, although the used one came back")
	}
}

func TestAuthorizationIsRefused(t *testing.T) {
	p := start(t, devidp.Config{})
	verifier := oauth2.GenerateVerifier()
	s256 := oauth2.S256ChallengeOption(verifier)
	plain := func(name, value string) oauth2.AuthCodeOption { return oauth2.SetAuthURLParam(name, value) }
	cases := []struct {
		name, client, redirect string
		options                []oauth2.AuthCodeOption
		error                  string // at the client; empty: the provider must not redirect
	}{
		{"unregistered redirect_uri", "vaultspan", "http://127.0.0.1/evil", []oauth2.AuthCodeOption{s256}, ""},
		{"other port of a confidential client", "vaultspan", "http://127.0.0.1:81/callback", []oauth2.AuthCodeOption{s256}, ""},
		{"other host of a public client", "cli", "http://evil.example/callback", []oauth2.AuthCodeOption{s256}, ""},
		{"unknown client", "nobody", "http://127.0.0.1/callback", []oauth2.AuthCodeOption{s256}, ""},
		{"client without logins", "agent-1", "http://127.0.0.1/callback", []oauth2.AuthCodeOption{s256}, ""},
		{"no PKCE", "cli", "http://127.0.0.1/callback", nil, "invalid_request"},
		{"no PKCE, confidential", "vaultspan", "http://127.0.0.1/callback", nil, "invalid_request"},
		{"PKCE plain", "cli", "http://127.0.0.1/callback", []oauth2.AuthCodeOption{plain("code_challenge", verifier), plain("code_challenge_method", "plain")}, "invalid_request"},
		{"PKCE without method", "cli", "http://127.0.0.1/callback", []oauth2.AuthCodeOption{plain("code_challenge", verifier)}, "invalid_request"},
		{"implicit flow", "cli", "http://127.0.0.1/callback", []oauth2.AuthCodeOption{s256, plain("response_type", "id_token token")}, "unauthorized_client"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cfg, _ := clientOf(t, p, c.client, "")
			cfg.RedirectURL = c.redirect
			b := newBrowser(p)
			resp, err := b.Get(cfg.AuthCodeURL("st", c.options...))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if c.error == "" {
				if b.left != nil || resp.StatusCode != http.StatusBadRequest {
					t.Fatalf("%s, redirected to %v", resp.Status, b.left)
				}
				return
			}
			if b.left == nil {
				t.Fatalf("no redirect: %s", resp.Status)
			}
			q := b.left.Query()
			if b.left.Fragment != "" {
				q, _ = url.ParseQuery(b.left.Fragment)
			}
			if q.Get("error") != c.error || q.Get("code") != "" {
				t.Errorf("got %v", q)
			}
		})
	}
}

func TestCodeNeedsItsVerifierAndClient(t *testing.T) {
	p := start(t, devidp.Config{})
	cfg, _ := clientOf(t, p, "cli", "")
	code := func() (string, string) {
		verifier := oauth2.GenerateVerifier()
		q := newBrowser(p).click(t, cfg.AuthCodeURL("st", oauth2.S256ChallengeOption(verifier)), "alice")
		return q.Get("code"), verifier
	}
	c, verifier := code()
	if _, err := cfg.Exchange(t.Context(), c, oauth2.VerifierOption(oauth2.GenerateVerifier())); err == nil {
		t.Error("a wrong verifier works")
	}
	if _, err := cfg.Exchange(t.Context(), c, oauth2.VerifierOption(verifier)); err == nil {
		t.Error("the code survived a wrong verifier")
	}
	c, _ = code()
	if _, err := cfg.Exchange(t.Context(), c); err == nil {
		t.Error("no verifier works")
	}
	c, verifier = code()
	other, _ := clientOf(t, p, "vaultspan", "vaultspan-dev-secret")
	if _, err := other.Exchange(t.Context(), c, oauth2.VerifierOption(verifier)); err == nil {
		t.Error("another client's code works")
	}
}
