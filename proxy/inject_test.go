package proxy_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

// injected are the routes of a bench that wear one secret in each way.
func injected(upstream string) []proxy.Route {
	var word vault.Injection
	if err := word.UnmarshalText([]byte("basic")); err != nil {
		panic(err)
	}
	var routes []proxy.Route
	for _, r := range []struct {
		host, secret string
		inject       vault.Injection
	}{
		{"q", "U1_KEY", vault.Injection{Query: "api_key"}}, // R4
		{"c", "U1_KEY", vault.Injection{Cookie: "sid"}},
		{"basic", "U1_KEY", vault.Injection{Basic: vault.Basic{User: "svc"}}},
		{"word", "FIELDS", word},
		{"format", "FIELDS", vault.Injection{Header: "X-Api-Key", Format: "{username}/{password}"}},
		{"whole", "FIELDS", vault.Injection{Query: "api_key"}},                     // a JSON object is not sent whole
		{"lacks", "FIELDS", vault.Injection{Cookie: "sid", Format: "{password2}"}}, // nor without its field
	} {
		routes = append(routes, proxy.Route{
			Name: r.host, Match: []string{r.host + ".gw.test/"}, Upstream: upstream, Secret: "prod/team-dev/" + r.secret, Inject: r.inject,
			Trace: "none", Forwarded: "none",
		})
	}
	return routes
}

// newInjectedBench is a bench with those routes to a script.
func newInjectedBench(t *testing.T, serve func(*peer)) (*bench, *script) {
	t.Helper()
	s := newScript(t, serve)
	b := newBench(t, func(_ *bench, routes []proxy.Route) []proxy.Route {
		return append(routes, injected("http://"+s.Addr().String())...)
	})
	return b, s
}

// quiet answers every request alike: nothing of it comes back.
func quiet(p *peer) {
	for {
		if _, _, err := p.request(); err != nil {
			return
		}
		p.reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: sid=" + canary1 + "; Path=/\r\nSet-Cookie: theme=dark\r\n\r\nok")
	}
}

// What the upstream receives, byte for byte, and that no one else does.
func TestEachWayToWearACredentialOnTheWire(t *testing.T) {
	b, upstream := newInjectedBench(t, quiet)
	token := b.token(t, "alice")
	const callers = "Cookie: a=1;sid=mine; b=2\r\n"
	for _, c := range []struct{ host, target, fields, wantTarget, want string }{
		{"q", "/v1/x?a=%20b&&c=+%7Bd%7D", callers, "/v1/x?a=%20b&&c=+%7Bd%7D&api_key=" + strings.ReplaceAll(url.QueryEscape(canary1), "+", "%20"), callers},
		{"q", "/v1/x", "X-Api-Key: api_key=mine\r\n", "/v1/x?api_key=" + url.QueryEscape(canary1), "X-Api-Key: api_key=mine\r\n"},
		{"q", "/v1/x?", "Referer: https://gw.test/a?b=1\r\n", "/v1/x?api_key=" + url.QueryEscape(canary1), "Referer: https://gw.test/a?b=1\r\n"},
		{"c", "/v1/x?sid=mine", callers, "/v1/x?sid=mine", "Cookie: sid=" + canary1 + "; a=1; b=2\r\n"},
		{"c", "/v1/x", "Cookie: a=\"x\r\n", "/v1/x", "Cookie: sid=" + canary1 + "; a=\"x\r\n"},
		{"c", "/v1/x", "Cookie: sid=a; \"sid\"=b; sid =c;sid[]=d; s%69d=e; SID=f; __Host-vaultspan=g\r\nCook_ie: sid=h\r\n", "/v1/x", "Cookie: sid=" + canary1 + "; SID=f\r\nCook_ie: sid=h\r\n"},
		{"c", "/v1/x", "", "/v1/x", "Cookie: sid=" + canary1 + "\r\n"},
		{"basic", "/v1/x", callers, "/v1/x", "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("svc:"+canary1)) + "\r\n" + callers},
		{"word", "/v1/x?a", callers, "/v1/x?a", "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("svc:"+canary1)) + "\r\n" + callers},
		{"format", "/v1/x", "X-Api-Key: mine\r\nX_Api_Key: mine\r\n", "/v1/x", "X-Api-Key: svc/" + canary1 + "\r\n"},
	} {
		conn := b.raw(t, false)
		conn.send("GET " + c.target + " HTTP/1.1\r\nHost: " + c.host + ".gw.test\r\nAuthorization: Bearer " + token + "\r\n" + c.fields + "\r\n")
		res, body, err := conn.answer("GET")
		if err != nil || res.StatusCode != 200 || body != "ok" {
			t.Fatalf("%s %s: %v %s %v", c.host, c.target, res, body, err)
		}
		want := fields(fmt.Sprintf("Accept-Encoding: identity\r\nHost: %s\r\nX-Request-Id: %s-1\r\n%s", upstream.Addr(), res.Header.Get("X-Request-Id"), c.want))
		all := upstream.requests()
		line, head, _ := strings.Cut(strings.TrimSuffix(all[len(all)-1], "\r\n"), "\r\n")
		if got := fields(head); line != "GET "+c.wantTarget+" HTTP/1.1" || !slices.Equal(got, want) {
			t.Errorf("%s %s: the upstream saw\n%s\n%q, want\n%s\n%q", c.host, c.target, line, got, c.wantTarget, want)
		}
		sets := []string{"sid=" + masked1 + "; Path=/", "theme=dark"}
		if c.host == "c" {
			sets = sets[1:] // else the caller would hold the session
		}
		if got := res.Header["Set-Cookie"]; !slices.Equal(got, sets) {
			t.Errorf("%s: the caller is set %q", c.host, got)
		}
	}
	for _, host := range []string{"whole", "lacks"} {
		res, body := b.do(t, "GET", "http://"+host+".gw.test/x", token)
		refused(t, res, body, 502, "no-credential")
	}
}

// The same over HTTP/2 at both ends.
func TestInjectionOverHTTP2(t *testing.T) {
	b := newBench(t, func(b *bench, routes []proxy.Route) []proxy.Route {
		more := injected(b.u1.URL)
		for i := range more {
			more[i].UpstreamTLS = routes[0].UpstreamTLS
		}
		return append(routes, more...)
	})
	alice := b.token(t, "alice")
	cookies := func(r *http.Request) { r.Header["Cookie"] = []string{"a=1; sid=mine", "sid=mine; b=2"} }
	if res, body := b.do(t, "POST", "https://q.gw.test/x?a=1", alice, cookies); res.StatusCode != 200 || b.u1.last(t).RequestURI != "/x?a=1&api_key="+url.QueryEscape(canary1) {
		t.Errorf("%d %s: the upstream saw %s", res.StatusCode, body, b.u1.last(t).RequestURI)
	}
	res, body := b.do(t, "GET", "https://c.gw.test/x", alice, cookies)
	if got := b.u1.last(t); res.StatusCode != 200 || got.ProtoMajor != 2 || !slices.Equal(got.Header["Cookie"], []string{"sid=" + canary1 + "; a=1; b=2"}) {
		t.Errorf("%d %s: the upstream saw %s with cookies %q", res.StatusCode, body, got.Proto, got.Header["Cookie"])
	}
}

// B12 for the query: which of two parameters counts is the upstream's affair, so
// a request with one of ours is refused, before anything is recorded as sent.
func TestACallersParameterOfTheInjectionsNameIsRefused(t *testing.T) {
	b, upstream := newInjectedBench(t, quiet)
	alice := b.token(t, "alice")
	targets := []string{
		"/x?api_key=mine", "/x?a=1&api_key", "/x?api%5Fkey=mine", "/x?%61%70i_key=", "/x?api%255fkey=mine", "/x?API_KEY=mine", "/x?api_key[]=mine",
		"/x?api_key%5B0%5D=mine", "/x?api.key=mine", "/x?api+key=mine", "/x?%20api_key=mine", "/x?api_key%00=mine", "/x?[api_key]=mine",
	}
	for _, target := range targets {
		for _, token := range []string{alice, ""} {
			conn := b.raw(t, false)
			auth := ""
			if token != "" {
				auth = "Authorization: Bearer " + token + "\r\n"
			}
			conn.send("GET " + target + " HTTP/1.1\r\nHost: q.gw.test\r\n" + auth + "\r\n")
			res, body, err := conn.answer("GET")
			if err != nil {
				t.Fatal(err)
			}
			refused(t, res, body, 400, "parameter-reserved")
			if strings.Contains(body, "key") {
				t.Errorf("%s is told %s", target, body)
			}
		}
	}
	if res, body := b.do(t, "GET", "http://c.gw.test/x?api_key=mine", alice); res.StatusCode != 200 {
		t.Errorf("on another route: %d %s", res.StatusCode, body)
	}
	if n := len(upstream.requests()); n != 1 {
		t.Errorf("the upstream received %d requests", n)
	}
	refusals := 0
	for _, e := range b.records(t) {
		if e.Kind == "refusal" && e.Code == "parameter-reserved" {
			refusals += max(1, int(e.Count))
		} else if e.Route == "q" {
			t.Errorf("recorded: %+v", e)
		}
	}
	if refusals != 2*len(targets) {
		t.Errorf("%d refusals are recorded, want %d", refusals, 2*len(targets))
	}
}

// An upstream that sends to another path repeats the query it was asked with.
func TestARedirectDoesNotRepeatTheParameter(t *testing.T) {
	b, _ := newInjectedBench(t, func(p *peer) {
		for {
			head, _, err := p.request()
			if err != nil {
				return
			}
			path, query, _ := strings.Cut(target(head), "?")
			p.reply("HTTP/1.1 301 Moved Permanently\r\nContent-Length: 0\r\nLocation: " + path + "/?" + query + "#part\r\nContent-Location: http://u.test/?" + query + "&x\r\n\r\n")
		}
	})
	alice := b.token(t, "alice")
	for _, c := range []struct{ target, location, content string }{
		{"/dir", "/dir/#part", "http://u.test/?x"},
		{"/dir?a=%20b&c", "/dir/?a=%20b&c#part", "http://u.test/?a=%20b&c&x"},
	} {
		res, _ := b.do(t, "GET", "http://q.gw.test"+c.target, alice)
		if got := []string{res.Header.Get("Location"), res.Header.Get("Content-Location")}; !slices.Equal(got, []string{c.location, c.content}) {
			t.Errorf("%s: the caller is sent to %q", c.target, got)
		}
	}
}

// Promise 2, M08: whatever goes wrong after the credential is on the request, no
// output holds it. net/http's own errors quote URLs.
func TestNoErrorHoldsTheCredential(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	s := newScript(t, func(p *peer) {
		head, _, err := p.request()
		if err != nil {
			return
		}
		switch path, _, _ := strings.Cut(target(head), "?"); path {
		case "/close": // nothing
		case "/garbage":
			p.reply("HTTP/9.9 " + target(head) + "\r\n\r\n")
		case "/field":
			p.reply("HTTP/1.1 200 OK\r\n: " + target(head) + "\r\n\r\n")
		case "/length":
			p.reply("HTTP/1.1 200 OK\r\nContent-Length: " + target(head) + "\r\n\r\n")
		case "/short":
			p.reply("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
		case "/switch":
			p.reply("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		}
	})
	gone := address(t)
	b := newBench(t, func(b *bench, _ []proxy.Route) []proxy.Route {
		b.meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		routes := injected("http://" + s.Addr().String())
		for _, r := range slices.Clone(routes) {
			r.Name, r.Match, r.Upstream = "gone-"+r.Name, []string{"gone-" + r.Match[0]}, "http://"+gone
			routes = append(routes, r)
			r.Name, r.Match, r.Upstream = "tls-"+r.Name, []string{"tls-" + r.Match[0]}, b.u1.URL // without its authority
			routes = append(routes, r)
		}
		return routes
	})
	alice := b.token(t, "alice")
	for _, r := range injected("") {
		for _, url := range []string{
			r.Name + ".gw.test/close", r.Name + ".gw.test/garbage", r.Name + ".gw.test/field", r.Name + ".gw.test/length", r.Name + ".gw.test/switch",
			"gone-" + r.Name + ".gw.test/x", "tls-gone-" + r.Name + ".gw.test/x",
		} {
			res, body := b.do(t, "GET", "http://"+url, alice)
			if res.StatusCode != 502 || strings.Contains(body, "5f0c2a77b1") {
				t.Errorf("%s: %d %s", url, res.StatusCode, body)
			}
		}
		conn := b.raw(t, false)
		conn.send("GET /short HTTP/1.1\r\nConnection: close\r\nHost: " + r.Name + ".gw.test\r\nAuthorization: Bearer " + alice + "\r\n\r\n")
		if text := conn.ends(); strings.Contains(text, "5f0c2a77b1") {
			t.Errorf("the caller of %s/short reads %s", r.Name, text)
		}
	}
	var metrics metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &metrics); err != nil {
		t.Fatal(err)
	}
	records := b.records(t)
	outputs := map[string]string{"logs": b.logs.String(), "spans": fmt.Sprintf("%+v", b.spans.GetSpans()), "metrics": fmt.Sprintf("%+v", metrics), "records": fmt.Sprintf("%+v", records)}
	var never []string
	for _, secret := range []string{canary1, "svc:" + canary1} {
		never = append(never, secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret)))
	}
	never = append(never, "5f0c2a77b1", "api_key", "sid=")
	for name, output := range outputs {
		for _, word := range never {
			if i := strings.Index(output, word); i >= 0 {
				t.Errorf("the %s hold %q: …%s", name, word, output[max(0, i-200):i+len(word)])
			}
		}
	}
}
