package proxy_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/vaultspan/vaultspan/proxy"
)

// J29: what is answered to a request with a credential is kept by no cache on the
// way, whatever the upstream says and to whichever cache, unless the route says
// that the upstream decides.
func TestNoCacheKeepsWhatACredentialBought(t *testing.T) {
	b := newBench(t, func(b *bench, routes []proxy.Route) []proxy.Route {
		for _, r := range []proxy.Route{
			{Name: "opts-in", Match: []string{"in.gw.test/"}, Cache: "upstream", Secret: routes[0].Secret, Inject: routes[0].Inject},
			{Name: "opts-out", Match: []string{"out.gw.test/"}, Cache: "no-store", Allow: proxy.Allow{proxy.Anyone}},
		} {
			r.Upstream, r.UpstreamTLS = routes[0].Upstream, routes[0].UpstreamTLS
			routes = append(routes, r)
		}
		return routes
	})
	theirs := http.Header{
		"Cache-Control": {"public, s-maxage=3600", "max-age=60"}, "Expires": {"Thu, 01 Dec 2094 16:00:00 GMT"}, "Pragma": {"x"},
		"Cdn-Cache-Control": {"max-age=60"}, "Cloudflare-Cdn-Cache-Control": {"max-age=60"}, "Surrogate-Control": {"max-age=60"},
		"X-Accel-Expires": {"60"}, "Edge-Control": {"cache-maxage=60s"},
	}
	b.u1.handler = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"1"`)
		if r.URL.Path != "/silent" {
			maps.Copy(w.Header(), theirs)
		}
		switch r.URL.Path {
		case "/304":
			w.WriteHeader(304)
		case "/500":
			w.WriteHeader(500)
		}
	}
	for _, c := range []struct {
		url    string
		status int
		kept   bool
	}{
		{"://app.gw.test/silent", 200, false}, // a cache may keep what says nothing (RFC 9111 section 4.2.2)
		{"://app.gw.test/x", 200, false},
		{"://app.gw.test/304", 304, false},
		{"://app.gw.test/500", 500, false},
		{"://in.gw.test/x", 200, true},
		{"://app.gw.test/public/x", 200, true}, // no credential is on it
		{"://out.gw.test/x", 200, false},
	} {
		for _, scheme := range []string{"http", "https"} {
			res, body := b.do(t, "GET", scheme+c.url, b.token(t, "alice"))
			if res.StatusCode != c.status || res.Header.Get("Etag") != `"1"` {
				t.Errorf("%s: %d %q %s", c.url, res.StatusCode, res.Header, body)
			}
			for name, values := range theirs {
				want := values
				if !c.kept {
					want = map[string][]string{"Cache-Control": {"no-store"}}[name]
				}
				if got := res.Header[name]; !slices.Equal(got, want) {
					t.Errorf("%s%s: %s is %q, want %q", scheme, c.url, name, got, want)
				}
			}
		}
	}
	// Our own answers too.
	if res, _ := b.do(t, "GET", "http://app.gw.test/x", ""); res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("a refusal has Cache-Control %q", res.Header.Get("Cache-Control"))
	}
}
