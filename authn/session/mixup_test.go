package session_test

import (
	"net/url"
	"testing"

	"github.com/vaultspan/vaultspan/authn"
)

// TestAnIssuerGetsNoOthersCode: one issuer sends a browser that logs in at it on to
// another, with its own state and with the nonce and challenge of a login that it
// began itself. The other knows the person and gives a code. It must not be brought to
// the first, which would finish its own login with it (a mix-up, RFC 9700 section
// 4.4), though the other says no iss.
func TestAnIssuerGetsNoOthersCode(t *testing.T) {
	c := &clock{}
	corp, evil := newProvider(t, c), newProvider(t, c)
	g := newGateway(t, corp, options{more: []authn.IssuerConfig{
		{Name: "partner", URL: evil.url, Audience: "vaultspan", Login: authn.Login{ClientID: "web", ClientSecret: secret("web-secret")}},
	}})
	login := func(b *browser, issuer string) url.Values {
		t.Helper()
		at, err := url.Parse(b.get("/.vaultspan/login?issuer=" + issuer).location())
		if err != nil || at.Path != "/authorize" {
			t.Fatal(at, err)
		}
		return at.Query()
	}
	mallory, alice := newBrowser(t, g), newBrowser(t, g)
	began, lured := login(mallory, "corp"), login(alice, "partner")
	if began.Get("redirect_uri") == lured.Get("redirect_uri") {
		t.Error("two issuers have one redirect URI")
	}
	code := corp.code(began, "alice")
	answer := func(redirect, state string) string {
		return redirect + "?" + url.Values{"state": {state}, "code": {code}}.Encode()
	}
	// corp knows its own redirect URI alone; the others are not registered there.
	for name, redirect := range map[string]string{
		"corp's own": began.Get("redirect_uri"), "that of a lone issuer": g.url + "/.vaultspan/callback",
		"corp's, spelled otherwise": g.url + "/.vaultspan/callback/c%6Frp", "nobody's": g.url + "/.vaultspan/callback/nobody",
	} {
		if got := alice.get(answer(redirect, lured.Get("state"))); got.status != 400 {
			t.Errorf("%s: %d to %q, want 400", name, got.status, got.location())
		}
	}
	if n := evil.count("authorization_code"); n != 0 {
		t.Errorf("the other issuer was brought %d codes", n)
	}
	if got := mallory.finish(corp, began, "mallory"); got.status != 303 {
		t.Errorf("a login where it belongs: %d %s\n%s", got.status, got.body, g.logs)
	}
}
