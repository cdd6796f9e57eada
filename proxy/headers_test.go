package proxy

import (
	"net/http"
	"net/netip"
	"slices"
	"testing"

	"github.com/vaultspan/vaultspan/vault"
)

// Group B: a caller cannot set, remove or alias a header the gateway manages.
func TestManagedHeadersNeverPass(t *testing.T) {
	var key vault.Injection
	key.Header = "X-Api-Key"
	p := newHeaderPolicy(Route{Inject: key, TokenFrom: []string{"X-Goog-Api-Key"}})
	for _, c := range []struct{ id, name string }{
		{"A19", "X-Forwarded-Uri"}, {"A19", "X-Original-Url"}, {"A19", "X-Rewrite-Url"}, {"A19", "X-Forwarded-Prefix"},
		{"B01", "X-Forwarded-User"}, {"B03", "X_Forwarded_User"}, {"B03", "X_forwarded-User"}, {"B03", "X.Forwarded.User"},
		{"B05", "X-Webauth-User"}, {"B06", "x-forwarded-user"},
		{"B12", "X_Api_Key"}, {"B12", "X.Api.Key"}, {"B12", "x-api-key"}, {"B12", "x-API_key"},
		{"B13", "Authorization"}, {"B13", "AUTHORIZATION"}, {"B15", "Proxy-Authorization"}, {"B15", "Proxy_Authorization"}, {"B15", "Proxy-Connection"},
		{"B16", "Forwarded"}, {"B16", "X-Forwarded-Host"}, {"B16", "X-Forwarded-Proto"}, {"B16", "X-Forwarded-Port"}, {"B17", "X-Forwarded-For"},
		{"B19", "X-Http-Method-Override"}, {"B19", "X-Http-Method"}, {"B19", "X-Method-Override"},
		{"B24", "X-Ssl-Client-Cn"}, {"B24", "X-Client-Cert"}, {"B24", "Client-Cert"}, {"B24", "Client_Cert"}, {"B24", "Ssl-Client-Verify"},
		{"B25", "X-Real-Ip"}, {"B25", "True-Client-Ip"}, {"B25", "Cf-Connecting-Ip"}, {"B25", "X-Envoy-Original-Path"}, {"B25", "X-Envoy-Internal"},
		{"M06", "Baggage"}, {"M06", "Traceparent"}, {"M06", "Tracestate"}, {"N04", "X-Request-Id"}, {"N04", "X-Audit-Actor"}, {"C15", "Expect"},
		{"", "X-Goog-Api-Key"}, {"", "X-Vaultspan-Assertion"},
	} {
		if p.forwards(c.name) {
			t.Errorf("%s: a caller's %s reaches the upstream", c.id, c.name)
		}
	}
	for _, name := range []string{"Accept", "Content-Type", "User-Agent", "X-Tier", "X_Tier", "Idempotency-Key", "Api-Version", "If-None-Match"} {
		if !p.forwards(name) {
			t.Errorf("a caller's %s does not reach the upstream", name)
		}
	}
}

func TestOwnCookiesAreTakenOff(t *testing.T) {
	p := newHeaderPolicy(Route{})
	got := p.outbound(http.Header{"Cookie": {"a=1; __Host-vaultspan=secret; b=2", "__Host-vaultspan-flow=x"}, "C.ookie": {"z"}, "Cook_ie": {"y"}}, false)
	if !slices.Equal(got["Cookie"], []string{"a=1; b=2"}) {
		t.Errorf("cookies are %q", got["Cookie"])
	}
}

func TestUpstreamCannotSetWhatIsOurs(t *testing.T) { // B29
	h := http.Header{"Set-Cookie": {"__Host-vaultspan=FIXED; Path=/; Secure", "sid=1"}, "Alt-Svc": {`h3=":443"`}, "X-Request-Id": {"theirs"}}
	cleanResponse(h)
	if !slices.Equal(h["Set-Cookie"], []string{"sid=1"}) || h.Get("Alt-Svc") != "" || h.Get("X-Request-Id") != "" {
		t.Errorf("passed on: %v", h)
	}
}

func TestClientAddress(t *testing.T) {
	ten := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct {
		id, peer  string
		forwarded []string
		trusted   []netip.Prefix
		want      string
	}{
		{"B17", "192.0.2.1", []string{"127.0.0.1"}, nil, "192.0.2.1"},
		{"B17", "192.0.2.1", []string{"a"}, ten, "192.0.2.1"},
		{"B18", "10.0.0.1", []string{"198.51.100.7"}, nil, "10.0.0.1"},
		{"B18", "::ffff:10.0.0.1", []string{"198.51.100.7"}, ten, "198.51.100.7"},
		{"B18", "10.0.0.1", []string{"203.0.113.5, 198.51.100.7"}, ten, "198.51.100.7"},
		{"B18", "10.0.0.1", []string{"203.0.113.5", "198.51.100.7, 10.0.0.2"}, ten, "198.51.100.7"},
		{"B17", "10.0.0.1", []string{"203.0.113.5, junk"}, ten, "10.0.0.1"},
		{"B17", "10.0.0.1", []string{"203.0.113.5, junk, 10.0.0.9"}, ten, "10.0.0.9"},
		{"", "10.0.0.1", nil, ten, "10.0.0.1"},
	} {
		if got := clientIP(netip.MustParseAddr(c.peer), c.forwarded, c.trusted); got.String() != c.want {
			t.Errorf("%s: peer %s, X-Forwarded-For %q: got %s, want %s", c.id, c.peer, c.forwarded, got, c.want)
		}
	}
}

func TestTokens(t *testing.T) {
	auth := func(values ...string) http.Header { return http.Header{"Authorization": values} }
	for _, c := range []struct {
		id     string
		header http.Header
		want   string // the token, or the refusal's code
	}{
		{"G36", auth("bearer tok"), "tok"}, {"G36", auth("BEARER tok"), "tok"}, {"G36", auth("Bearer tok=="), "tok=="},
		{"G36", auth("Bearer  tok"), "malformed-token"}, {"G36", auth("Bearer\ttok"), "malformed-token"}, {"G36", auth("Bearertok"), "malformed-token"},
		{"G36", auth("Bearer"), "malformed-token"}, {"G36", auth("Bearer "), "malformed-token"}, {"G36", auth("Bearer tok "), "malformed-token"},
		{"G35", auth("Bearer a", "Bearer b"), "ambiguous-credentials"}, {"G35", auth("Bearer a", "Bearer a"), "ambiguous-credentials"},
		{"G35", auth("Bearer a, Bearer b"), "malformed-token"}, {"G07", auth(`Bearer {"payload":"x"}`), "malformed-token"},
		{"", auth("Basic dTpw"), ""}, {"", auth(""), ""}, {"", nil, ""},
		{"", http.Header{"X-Api-Key": {"tok"}}, "tok"},
		{"", http.Header{"X-Api-Key": {"tok"}, "Authorization": {"Bearer tok"}}, "tok"},
		{"", http.Header{"X-Api-Key": {"tok"}, "Authorization": {"Bearer other"}}, "ambiguous-credentials"},
		{"", http.Header{"X-Api-Key": {"a", "a"}}, "ambiguous-credentials"},
		{"", http.Header{"Proxy-Authorization": {"Bearer tok"}}, "tok"},
		{"", http.Header{"Api-Key": {"tok"}}, ""}, // the route does not name it
	} {
		got, refused := token(c.header, []string{"X-Api-Key", "proxy-authorization"})
		if refused != nil {
			got = refused.Code
		}
		if got != c.want {
			t.Errorf("%s: %v gives %q, want %q", c.id, c.header, got, c.want)
		}
	}
}

// What the guard could not look through is not asked for; where there is no
// guard, because nothing that is sent is secret or because it is off, it is.
func TestRangesReachTheUpstreamWhereThereIsNoGuard(t *testing.T) {
	p := newHeaderPolicy(Route{Secret: "a/b/c", Inject: vault.Bearer()})
	for _, name := range []string{"Range", "If-Range", "If_range", "Request-Range", "Accept-Encoding", "Sec-Websocket-Extensions"} {
		in := http.Header{name: {"x"}, "Accept": {"x"}}
		if out := p.outbound(in, true); len(out) != 1 {
			t.Errorf("%s passes to an upstream that is watched", name)
		}
		if out := p.outbound(in, false); len(out) != 2 {
			t.Errorf("%s does not pass where nothing is watched: %v", name, out)
		}
	}
}
