package proxy_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestUpstreamSeesTheVaultsCredentialAndNothingOfTheCallersToken(t *testing.T) { // B13
	b := newBench(t)
	token := b.token(t, "alice")
	for _, scheme := range []string{"http", "https"} {
		res, body := b.do(t, "GET", scheme+"://app.gw.test/v1/x?y=%20z", token)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", scheme, res.StatusCode, body)
		}
		seen := b.u1.last(t)
		if got := seen.Header.Values("Authorization"); len(got) != 1 || got[0] != "Bearer "+canary1 {
			t.Errorf("the upstream saw Authorization %q", got)
		}
		if seen.RequestURI != "/v1/x?y=%20z" {
			t.Errorf("the upstream saw %q", seen.RequestURI)
		}
		for name, values := range seen.Header {
			if strings.Contains(strings.Join(values, " "), token) {
				t.Errorf("the caller's token went upstream in %s", name)
			}
		}
		if res.Header.Get("X-Request-Id") == "" || seen.Header.Get("X-Request-Id") != res.Header.Get("X-Request-Id")+"-1" {
			t.Errorf("request id %q, attempt %q", res.Header.Get("X-Request-Id"), seen.Header.Get("X-Request-Id"))
		}
	}
}

func TestRefusals(t *testing.T) {
	b := newBench(t)
	alice, mallory := b.token(t, "alice"), b.token(t, "mallory")
	for _, c := range []struct {
		name, method, url, token string
		status                   int
		code                     string
	}{
		{"wrong role", "GET", "http://app.gw.test/x", mallory, 403, "denied"},
		{"role of another collection", "POST", "http://pay.gw.test/x", alice, 403, "denied"},
		{"no token", "GET", "http://app.gw.test/x", "", 401, "no-credentials"},
		{"no route", "GET", "http://gw.test/x", alice, 404, "no-route"},
		{"reserved", "GET", "http://app.gw.test/.vaultspan/x", alice, 404, "no-route"},
		{"method", "GET", "http://pay.gw.test/x", alice, 405, "method-not-allowed"},
		{"somebody else's host", "GET", "http://evil.test/x", alice, 421, "misdirected"},
		{"no token we know", "GET", "http://app.gw.test/x", "abc", 400, "malformed-token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, body := b.do(t, c.method, c.url, c.token)
			refused(t, res, body, c.status, c.code)
		})
	}
	if n := len(b.u1.requests()) + len(b.u2.requests()); n != 0 {
		t.Errorf("the upstreams received %d requests", n)
	}
	refusals := 0
	for _, e := range b.records(t) {
		if e.Kind == "refusal" {
			refusals += max(1, int(e.Count))
		}
		if e.Kind == "intent" {
			t.Errorf("an intent was recorded: %+v", e)
		}
	}
	if refusals != 8 {
		t.Errorf("%d refusals are recorded", refusals)
	}
}
