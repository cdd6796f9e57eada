package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/proxy"
)

// K06: an upstream's redirect is the caller's to follow, wherever it leads.
func TestARedirectIsPassedOnAndNotFollowed(t *testing.T) {
	b := newBench(t)
	for _, location := range []string{b.u2.URL + "/private", "http://169.254.169.254/latest", "//evil.test/", "/inside"} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			b.u1.handler = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", location)
				w.WriteHeader(status)
			}
			n := len(b.u1.requests())
			res, _ := b.do(t, "GET", "https://app.gw.test/x", b.token(t, "alice"))
			if res.StatusCode != status || res.Header.Get("Location") != location {
				t.Errorf("the caller is told %d to %q, want %d to %q", res.StatusCode, res.Header.Get("Location"), status, location)
			}
			if len(b.u1.requests()) != n+1 || len(b.u2.requests()) != 0 {
				t.Errorf("%d to %s was followed", status, location)
			}
		}
	}
}

// K14, K15: there are no placeholders in requests. What looks like one, ours or
// somebody else's, travels as it is, and the credential is where the route says
// and nowhere else. K17: the caller's own Authorization, which is how it proves
// who it is, is replaced. K01: no field of a request names where it goes.
func TestNothingInARequestIsExpandedOrObeyed(t *testing.T) {
	b := newBench(t)
	const marks = "{secret} {{gw:github}} ${file:bws-prod} $U1_KEY {prod/team-dev/U1_KEY} %7Bsecret%7D"
	b.u1.handler = func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) != `{"base_url": "http://evil.test", "x": "`+marks+`"}` {
			t.Errorf("the upstream's body is %s", body)
		}
	}
	res, body := b.do(t, "POST", "https://app.gw.test/%7Bsecret%7D?x=%7Bsecret%7D&api_base=http://evil.test", b.token(t, "alice"), func(r *http.Request) {
		r.Body = io.NopCloser(strings.NewReader(`{"base_url": "http://evil.test", "x": "` + marks + `"}`))
		for _, name := range []string{"X-Note", "X-Target", "Sw-Url", "X-Skipper-Proxy", "X-Upstream"} {
			r.Header.Set(name, marks)
		}
	})
	got := b.u1.last(t)
	if res.StatusCode != 200 || got.RequestURI != "/%7Bsecret%7D?x=%7Bsecret%7D&api_base=http://evil.test" || got.Header.Get("X-Note") != marks {
		t.Errorf("%d %s: the upstream saw %s, %q", res.StatusCode, body, got.RequestURI, got.Header)
	}
	for name, values := range got.Header {
		if has := strings.Contains(strings.Join(values, " "), "CANARY"); has != (name == "Authorization") {
			t.Errorf("the credential in %s: %t", name, has)
		}
	}
	if values := got.Header["Authorization"]; len(values) != 1 || values[0] != "Bearer "+canary1 {
		t.Errorf("Authorization is %q", values)
	}
}

// J18: an upstream can tie a connection to who authenticated on it. Connections
// are shared by the callers of a route, so none may: what they would do it with
// never reaches an upstream, on no route.
func TestNoCallerAuthenticatesAConnection(t *testing.T) {
	b := newBench(t)
	b.u1.handler = func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Www-Authenticate"] = []string{"NTLM", "Negotiate"}
		w.WriteHeader(401)
	}
	for _, scheme := range []string{"NTLM", "Negotiate", "Kerberos"} {
		own := func(r *http.Request) {
			r.Header["Authorization"] = []string{scheme + " TlRMTVNTUAABAAAA"}
			r.Header["Proxy-Authorization"] = []string{scheme + " TlRMTVNTUAABAAAA"}
		}
		if res, body := b.do(t, "GET", "http://app.gw.test/public/x", "", own); res.StatusCode != 401 {
			t.Errorf("%d %s", res.StatusCode, body)
		}
		for name, values := range b.u1.last(t).Header {
			if strings.Contains(strings.Join(values, ""), "TlRMTVNTUAAB") {
				t.Errorf("%s reached the upstream in %s", scheme, name)
			}
		}
		n := len(b.u1.requests())
		if res, _ := b.do(t, "GET", "http://app.gw.test/x", "", own); res.StatusCode/100 != 4 || len(b.u1.requests()) != n {
			t.Errorf("%s passed for a token: %d", scheme, res.StatusCode)
		}
	}
}

// K19: an upstream is reached over http or https.
func TestUpstreamsOfOtherSchemesAreRefused(t *testing.T) {
	for _, upstream := range []string{
		"file:///etc/passwd", "gopher://127.0.0.1:70/", "unix:///run/x.sock", "unix://x", "ftp://a.test", "ws://a.test", "data:,x", "HTTPS+unix://x", "//a.test", "a.test", "",
	} {
		var got []string
		r := proxy.Route{Name: "r", Match: []string{"/r/"}, Upstream: upstream, Allow: proxy.Allow{"dev"}}
		r.Check(func(path, problem string) { got = append(got, path+": "+problem) })
		if len(got) != 1 || !strings.HasPrefix(got[0], "upstream: ") {
			t.Errorf("%q: %q", upstream, got)
		}
	}
}

// K02 and K21 until there is a door for it: no CONNECT, no SOCKS, no proxying to
// a target of the caller's.
func TestThereAreNoSideDoors(t *testing.T) {
	b := newBench(t)
	token := b.token(t, "alice")
	for _, bytes := range []string{
		"CONNECT api.allowed.test:443 HTTP/1.1\r\nHost: api.allowed.test:443\r\nProxy-Authorization: Bearer " + token + "\r\n\r\n",
		"CONNECT app.gw.test:443 HTTP/1.1\r\nHost: app.gw.test\r\nAuthorization: Bearer " + token + "\r\n\r\n",
		"GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\nAuthorization: Bearer " + token + "\r\n\r\n",
		"GET socks5://app.gw.test/ HTTP/1.1\r\nHost: app.gw.test\r\nAuthorization: Bearer " + token + "\r\n\r\n",
		"\x05\x01\x00\r\n\r\n",                                         // SOCKS 5
		"\x04\x01\x01\xbb\x7f\x00\x00\x01me\x00\r\n\r\n",               // SOCKS 4
		"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\n\r\n", // HAProxy's
	} {
		conn := b.raw(t, false)
		conn.send(bytes)
		if res, body, err := conn.answer("GET"); err != nil || res.StatusCode < 400 || res.StatusCode >= 500 {
			t.Errorf("%.30q is answered %v %s %v", bytes, res, body, err)
		}
	}
	if n := len(b.u1.requests()) + len(b.u2.requests()); n != 0 {
		t.Errorf("the upstreams received %d requests", n)
	}
}
