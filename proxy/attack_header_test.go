package proxy_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/proxy"
)

// Group B over the wire: of a caller's fields the upstream sees those below and
// no others, whatever is sent beside them.
func TestAttacksOnHeaders(t *testing.T) {
	b, upstream := newScriptBench(t, mirror)
	token := b.token(t, "alice")
	for _, c := range []struct{ id, fields, left string }{ // left: what the upstream sees of fields
		{"A19", "X-Forwarded-Uri: /public\r\nX-Original-URL: /public\r\nX-Rewrite-URL: /public\r\nX-Forwarded-Prefix: /public\r\n", ""},
		{"B01", "X-Forwarded-User: admin\r\nX-Forwarded-Email: a\r\nX-Forwarded-Groups: a\r\nX-Auth-Request-User: a\r\nRemote-User: a\r\nX-Remote-User: a\r\n", ""},
		{"B03", "X_Forwarded_User: admin\r\nX_forwarded-user: admin\r\nX.Forwarded.User: a\r\nX~Forwarded!User: a\r\n", ""},
		{"B05", "X-Webauth-User: a\r\nx-webauth-user: a\r\n", ""},
		{"B06", "X-Forwarded-User: a\r\nX-Forwarded-User: b\r\nx-forwarded-user: a,b\r\n", ""},
		{"B08", "connection: x-forwarded-user,\t x-one ,close\r\nX-Forwarded-User: a\r\nX-One: 1\r\nX-Two: 2\r\n", "X-Two: 2\r\n"},
		{"B08", "Connection: " + strings.Repeat("x-one, ", 200) + "authorization\r\nX-One: 1\r\n", ""},
		{"B08", "Connection: x-request-id, authorization, host, content-length\r\n", ""},
		{"B12", "X_Api_Key: a\r\nX.Api.Key: a\r\nAuthorization_: a\r\nAuthoriz.ation: a\r\n", "X_api_key: a\r\nX.api.key: a\r\nAuthorization_: a\r\nAuthoriz.ation: a\r\n"},
		{"B15", "Proxy-Connection: keep-alive\r\nKeep-Alive: 300\r\nTE: gzip\r\nTrailer: X\r\nProxy_Authorization: Basic x\r\n", ""},
		{"B15", "TE: gzip, trailers\r\n", "Te: trailers\r\n"},
		{"B16", "Forwarded: for=1.1.1.1;host=evil;proto=http\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: ftp\r\nX-Forwarded-Port: 1\r\n", ""},
		{"B17", "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: a\r\n", ""},
		{"B19", "X-HTTP-Method-Override: DELETE\r\nX-HTTP-Method: DELETE\r\nX-Method-Override: DELETE\r\n", ""},
		{"B24", "X-SSL-Client-CN: a\r\nX-Client-Cert: a\r\nClient-Cert: a\r\nClient-Cert-Chain: a\r\nSsl-Client-Verify: SUCCESS\r\n", ""},
		{"B25", "X-Real-IP: 1.1.1.1\r\nTrue-Client-IP: 1.1.1.1\r\nCF-Connecting-IP: 1.1.1.1\r\nX-Envoy-Original-Path: /a\r\nX-Envoy-Internal: true\r\n", ""},
		{"C03", "Content_Length: 5\r\nTransfer_Encoding: chunked\r\nContent_Type: a\r\nHos.t: a\r\nHost_: a\r\nCookie_: a\r\nCo.okie: a\r\n", "Co.okie: a\r\nCookie_: a\r\nHos.t: a\r\nHost_: a\r\n"},
		{"K01", "api_base: http://evil\r\nbase_url: http://evil\r\nX-Target: evil\r\nSW-URL: evil\r\nX-Skipper-Proxy: evil\r\nProxy: http://evil\r\n",
			"Api_base: http://evil\r\nBase_url: http://evil\r\nSw-Url: evil\r\nX-Skipper-Proxy: evil\r\nX-Target: evil\r\n"},
		{"M06", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nTracestate: a=b\r\nBaggage: a=b\r\nB3: 0\r\nX-B3-TraceId: 1\r\n", ""},
		{"M04", "Tracestate: " + strings.Repeat("a=b,", 2000) + "\r\n", ""},
		{"M05", "Baggage: " + strings.Repeat("a=b,", 10_000) + "\r\n", ""}, {"M05", strings.Repeat("Baggage: a="+strings.Repeat("b", 200)+"\r\n", 100), ""},
		{"N04", "X-Request-Id: mine\r\nX-Audit-Actor: root\r\nX-Audit-Seq: 1\r\nX-Vaultspan-Subject: root\r\n", ""},
		{"", "Accept: */*\r\nCookie: a=1; __Host-vaultspan=x; b=2\r\nUser-Agent: me\r\nX-Tier: basic,gold\r\nX-Tier: x\r\n",
			"Accept: */*\r\nCookie: a=1; b=2\r\nX-Tier: basic,gold\r\nX-Tier: x\r\n"},
	} {
		conn := b.raw(t, false)
		conn.send("GET /x HTTP/1.1\r\nHost: raw.gw.test\r\nAuthorization: Bearer " + token + "\r\n" + c.fields + "\r\n")
		res, body, err := conn.answer("GET")
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%s %q: %v %s %v", c.id, c.fields, res, body, err)
		}
		agent := ""
		if strings.Contains(c.fields, "User-Agent") {
			agent = "User-Agent: me\r\n"
		}
		want := fields(fmt.Sprintf("Accept-Encoding: identity\r\nHost: %s\r\n%sAuthorization: Bearer %s\r\nX-Request-Id: %s-1\r\n%s", upstream.Addr(), agent, canary1, res.Header.Get("X-Request-Id"), c.left))
		all := upstream.requests()
		_, head, _ := strings.Cut(strings.TrimSuffix(all[len(all)-1], "\r\n"), "\r\n")
		if got := fields(head); !slices.Equal(got, want) {
			t.Errorf("%s %q: the upstream saw\n%q, want\n%q", c.id, c.fields, got, want)
		}
	}
	for _, e := range b.records(t) {
		if e.Client != "" && e.Client != "127.0.0.1" || e.Method != "" && e.Method != "GET" || e.Subject != "" && e.Subject != "alice" {
			t.Errorf("recorded: %+v", e)
		}
	}
}

// fields sorts the lines of a header.
func fields(head string) []string {
	return slices.Sorted(strings.SplitSeq(strings.TrimSuffix(head, "\r\n"), "\r\n"))
}

// B12, B13: the place of an injected key is the gateway's, under every spelling.
func TestInjectedKeyStandsAlone(t *testing.T) {
	b := newBench(t)
	carol := b.token(t, "carol")
	conn := b.raw(t, false)
	conn.send("POST /x HTTP/1.1\r\nHost: pay.gw.test\r\nAuthorization: Bearer " + carol +
		"\r\nX-Api-Key: a\r\nX_Api_Key: a\r\nX.Api.Key: a\r\nx-api_key: a\r\nContent-Length: 0\r\n\r\n")
	if res, body, err := conn.answer("POST"); err != nil || res.StatusCode != 200 || res.Close {
		t.Fatalf("%v %s %v", res, body, err)
	}
	seen := b.u2.last(t)
	for name, values := range seen.Header {
		if strings.Contains(strings.ToLower(name), "key") && (name != "X-Api-Key" || !slices.Equal(values, []string{canary2})) {
			t.Errorf("the upstream saw %s: %q", name, values)
		}
		if strings.Contains(fmt.Sprint(values), carol) {
			t.Errorf("the caller's token went upstream in %s", name)
		}
	}
	if seen.Header.Get("Authorization") != "" {
		t.Errorf("the upstream saw Authorization %q", seen.Header.Get("Authorization"))
	}
}

func TestAttacksOnHeaderSyntax(t *testing.T) {
	a := newAttacked(t)
	a.run(t, []attack{
		{"B12", with("X-Api-Key : a\r\n"), "net/http"}, {"M05", with("Baggage: " + strings.Repeat("b", 100<<10) + "\r\n"), "net/http"}, {"B22", with(" X: folds into the token\r\n"), "malformed-token"}, {"B22", host(" Host: raw.gw.test\r\n"), "net/http"},
		{"B22", with("X-A: b\r\n c\r\n"), "/x"}, // net/http unfolds it: the upstream sees one line
		{"", with("X\x00: a\r\n"), "net/http"}, {"", with("X: a\x00b\r\n"), "net/http"}, {"", with("X: a\rb\r\n"), "net/http"}, {"", with("X\xff: a\r\n"), "net/http"},
		{"", with(": a\r\n"), "net/http"}, {"", with("nothing\r\n"), "net/http"}, {"", with("X Y: a\r\n"), "net/http"},
		{"G35", with("Authorization: Bearer other\r\n"), "ambiguous-credentials"},
	})
	for _, head := range a.upstream.requests() {
		for line := range strings.SplitSeq(head, "\r\n") {
			if strings.ContainsAny(line, "\r\n\x00") || strings.HasPrefix(line, " ") {
				t.Errorf("the upstream saw %q", line)
			}
		}
	}
	a.recorded(t)
}

// B16, B17, B18: whose word the client's address is.
func TestOnlyTrustedProxiesNameTheClient(t *testing.T) {
	for _, c := range []struct {
		trusted []netip.Prefix
		want    string
	}{{nil, "127.0.0.1"}, {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "198.51.100.7"}} {
		b := newBench(t)
		b.settings.TrustedProxies = c.trusted
		if err := b.gateway.Swap(b.settings); err != nil {
			t.Fatal(err)
		}
		b.do(t, "GET", "http://app.gw.test/x", b.token(t, "alice"), func(r *http.Request) {
			r.Header["X-Forwarded-For"] = []string{"127.0.0.1, 203.0.113.9", "198.51.100.7"}
			r.Header.Set("X-Forwarded-Proto", "ftp")
		})
		if got := b.u1.last(t).Header; got.Get("X-Forwarded-For") != c.want || got.Get("X-Forwarded-Proto") != "https" || got.Get("X-Forwarded-Host") != "app.gw.test" {
			t.Errorf("trusting %v the upstream saw %v", c.trusted, got)
		}
		if e := outcome(t, b.records(t), "/x"); e.Client != c.want {
			t.Errorf("trusting %v the record says %s", c.trusted, e.Client)
		}
	}
}

// B29, B30: an upstream cannot set or remove what is ours.
func TestAttacksOfTheUpstreamOnHeaders(t *testing.T) {
	b, _ := newScriptBench(t, func(p *peer) {
		if _, _, err := p.request(); err == nil {
			p.reply("HTTP/1.1 200 OK\r\nConnection: Set-Cookie, X-Request-Id, X-Frame-Options\r\nSet-Cookie: sid=1\r\nX-Frame-Options: DENY\r\n" +
				"X-Request-Id: theirs\r\nAlt-Svc: h3=\":443\"\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
			p.reply("HTTP/1.1 200 OK\r\nSet-Cookie: __Host-vaultspan=fixed; Path=/; Secure\r\nSet-Cookie: sid=1\r\n" +
				"Set-Cookie: =__host-Vaultspan-flow=fixed\r\nContent-Length: 0\r\n\r\n")
		}
	})
	token := b.token(t, "alice")
	res, _ := b.do(t, "GET", "http://raw.gw.test/1", token)
	for _, name := range []string{"Alt-Svc", "Proxy-Authenticate", "Set-Cookie", "X-Frame-Options"} {
		if res.Header.Get(name) != "" {
			t.Errorf("%s: %s", name, res.Header.Get(name))
		}
	}
	if ids := res.Header["X-Request-Id"]; len(ids) != 1 || len(ids[0]) != 32 {
		t.Errorf("X-Request-Id %q", ids)
	}
}

// A route of its own method list, D12 D13: what is not on it is 405, and what is
// reaches policy, record and upstream under its own name.
func TestMethods(t *testing.T) {
	a := newAttacked(t)
	do := func(method string) string {
		return method + " /x HTTP/1.1\r\nHost: raw.gw.test\r\nAuthorization: Bearer TOKEN\r\nContent-Length: 0\r\n\r\n"
	}
	a.run(t, []attack{
		{"D12", do("GeT"), "method-not-allowed"}, {"D12", do("TRACK"), "method-not-allowed"}, {"D12", do("DEBUG"), "method-not-allowed"},
		{"D12", do("PROPFIND"), "method-not-allowed"}, {"D12", do("TRACE"), "method-not-allowed"}, {"D12", do("CONNECT"), "method-not-allowed"},
		{"D12", do(strings.Repeat("A", 100<<10)), "net/http"}, {"D12", do("GE\tT"), "net/http"}, {"D12", do("G@T"), "net/http"},
		{"D13", do("QUERY"), "method-not-allowed"}, {"D17", "OPTIONS /x HTTP/1.1\r\nHost: raw.gw.test\r\nAuthorization: Bearer TOKEN\r\nMax-Forwards: 0\r\n\r\n", "method-not-allowed"},
		{"D12", "CONNECT raw.gw.test:443 HTTP/1.1\r\nHost: raw.gw.test:443\r\nAuthorization: Bearer TOKEN\r\n\r\n", "method-not-allowed"},
		{"D12", "PRI * HTTP/2.0\r\n\r\n", "authority-mismatch"}, // not h2 without TLS
	})
	a.recorded(t)

	b, upstream := newScriptBench(t, mirror, func(r *proxy.Route) { r.Methods = []string{"QUERY"} })
	asked := &watched{}
	asked.Decider, b.settings.Policy = b.settings.Policy, asked
	if err := b.gateway.Swap(b.settings); err != nil {
		t.Fatal(err)
	}
	if res, body := b.do(t, "QUERY", "http://raw.gw.test/x", b.token(t, "alice")); res.StatusCode != 200 {
		t.Fatalf("QUERY: %d %s", res.StatusCode, body)
	}
	if e := outcome(t, b.records(t), "/x"); e.Method != "QUERY" || asked.in.Request.Method != "QUERY" || !strings.HasPrefix(upstream.requests()[0], "QUERY /x ") {
		t.Errorf("QUERY is %q to the record, %q to policy", e.Method, asked.in.Request.Method)
	}
}
