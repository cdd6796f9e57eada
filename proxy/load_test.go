package proxy_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

// settles waits until f is at most want, or fails: what ends asynchronously is
// given time, but not for ever.
func settles(t *testing.T, what string, want int, f func() int) {
	t.Helper()
	for end := time.Now().Add(patience); f() > want; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d %s are left, of %d", f(), what, want)
		}
	}
}

// descriptors counts the open files of this process.
func descriptors() int {
	files, _ := os.ReadDir("/proc/self/fd")
	return len(files)
}

// 2,500 requests, 500 at a time, by three people over two routes and two
// protocols: each upstream saw its own credential and no other, each caller its
// own answer, each attempt its own records; and nothing is left behind.
func TestManyRequestsAtOnce(t *testing.T) {
	b := newBench(t)
	client := b.client()
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = 500
	tokens := map[string]string{"alice": b.token(t, "alice"), "carol": b.token(t, "carol"), "mallory": b.token(t, "mallory")}
	run := func(n int) {
		var callers sync.WaitGroup
		slots := make(chan struct{}, 500)
		for i := range n {
			slots <- struct{}{}
			callers.Go(func() {
				defer func() { <-slots }()
				method, host, want := "GET", "app.gw.test", "alice"
				if i%2 == 1 {
					method, host, want = "POST", "pay.gw.test", "carol"
				}
				who, status := want, 200
				if i%10 >= 8 {
					who, status = "mallory", 403
				}
				url := []string{"http://", "https://"}[i/2%2] + "gw.test/" + who
				if err := sends(client, method, url, host, tokens[who], status); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
	}
	run(100) // what is started once is started
	client.CloseIdleConnections()
	b.drop(t)
	goroutines, files := runtime.NumGoroutine(), descriptors()

	run(2400)
	client.CloseIdleConnections()
	b.drop(t)
	settles(t, "goroutines", goroutines+5, runtime.NumGoroutine)
	settles(t, "descriptors", files+5, descriptors)

	for name, u := range map[string]*upstream{"/alice": b.u1, "/carol": b.u2} {
		want := map[string][2]string{"/alice": {"Bearer " + canary1, ""}, "/carol": {"", canary2}}[name]
		seen := u.requests()
		if len(seen) != 1000 {
			t.Errorf("%s arrived %d times", name, len(seen))
		}
		for _, r := range seen {
			if got := [2]string{r.Header.Get("Authorization"), r.Header.Get("X-Api-Key")}; got != want || r.RequestURI != name {
				t.Fatalf("%s arrived with %q", r.RequestURI, got)
			}
		}
	}
	kinds, refusals := map[string]int{}, 0
	for _, e := range b.records(t) {
		if kinds[e.Kind]++; e.Kind == audit.KindRefusal {
			refusals += max(1, int(e.Count))
		}
	}
	if kinds[audit.KindIntent] != 2000 || kinds[audit.KindOutcome] != 2000 || refusals != 500 {
		t.Errorf("recorded %v, and %d refusals", kinds, refusals)
	}
}

// drop ends every connection of the gateway, to callers and to upstreams.
func (b *bench) drop(t *testing.T) {
	t.Helper()
	b.plain.CloseClientConnections()
	b.tls.CloseClientConnections()
	b.gateway.Wait()
	if err := b.gateway.Swap(b.settings); err != nil { // its routes begin with no connection
		t.Fatal(err)
	}
}

// Q08, Q09: bodies that are cut off half-way leave no byte in those that follow.
func TestBodiesDoNotMix(t *testing.T) {
	b := newBench(t)
	fill := func(r *http.Request) byte { return r.Header.Get("X-Fill")[0] }
	check := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if n := bytes.Count(body, []byte{fill(r)}); n != len(body) || err == nil && len(body) != 100_000 {
			t.Errorf("of %d bytes %d are the caller's own", len(body), n)
		}
		w.Write(bytes.Repeat([]byte{fill(r)}, 100_000))
	}
	b.u1.handler, b.u2.handler = check, check
	token := b.token(t, "alice")
	client := b.client()
	defer client.CloseIdleConnections()
	var callers sync.WaitGroup
	for n := range 16 {
		callers.Go(func() {
			mine := byte('a' + n)
			for i := range 20 {
				way := ways[(n+i)%len(ways)]
				r, _ := http.NewRequest("POST", way.url+"/x", nil)
				r.Header.Set("Authorization", "Bearer "+token)
				r.Header.Set("X-Fill", string(mine))
				whole := bytes.Repeat([]byte{mine}, 100_000)
				r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(whole)), int64(len(whole))
				if i%4 == 3 { // gives up half-way
					r.Body = io.NopCloser(bytes.NewReader(whole[:50_000]))
				}
				res, err := client.Do(r)
				if err != nil {
					continue
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if own := bytes.Count(body, []byte{mine}); res.StatusCode == 200 && (own != len(body) || err == nil && own != 100_000) {
					t.Errorf("of %d bytes %d are the caller's own: %v", len(body), own, err)
				}
			}
		})
	}
	callers.Wait()
}

// J15, K01: where a request goes, by whatever name the caller calls it.
func TestUpstreamIsTheConfiguredOne(t *testing.T) {
	names := make(chan string, 8)
	b := newBench(t, func(b *bench, routes []proxy.Route) []proxy.Route {
		b.u1.Server.TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			names <- hello.ServerName
			return nil, nil
		}
		routes[0].UpstreamTLS.ServerName = "example.com"
		return append(routes, proxy.Route{
			Name: "keeps", Match: []string{"keeps.gw.test/"}, Upstream: routes[0].Upstream, UpstreamTLS: routes[0].UpstreamTLS, Host: "preserve",
			Secret: "prod/team-dev/U1_KEY", Inject: vault.Bearer(),
		})
	})
	token := b.token(t, "alice")
	for _, c := range []struct{ url, host, seen string }{
		{"https://app.gw.test/?api_base=http://evil.test&base_url=x", "APP.gw.test.", b.u1.Listener.Addr().String()},
		{"https://app.gw.test/x", "app.gw.test:443", b.u1.Listener.Addr().String()},
		{"https://keeps.gw.test/x", "KEEPS.gw.test.:443", "keeps.gw.test:443"},
	} {
		res, body := b.do(t, "POST", c.url, token, withBody(`{"api_base": "http://evil.test", "url": "http://evil.test"}`, true), func(r *http.Request) {
			r.Host = c.host
			for _, name := range []string{"X-Target", "X-Upstream", "Sw-Url", "X-Skipper-Proxy", "X-Host", "Api-Base"} {
				r.Header.Set(name, "http://evil.test")
			}
		})
		if res.StatusCode != 200 || b.u1.last(t).Host != c.seen {
			t.Errorf("%s as %s: %d %s, the upstream saw Host %q", c.url, c.host, res.StatusCode, body, b.u1.last(t).Host)
		}
	}
	if close(names); len(names) == 0 {
		t.Error("there was no TLS handshake")
	}
	for name := range names {
		if name != "example.com" {
			t.Errorf("TLS named %q", name)
		}
	}
	if !strings.HasPrefix(fmt.Sprint(b.u1.last(t).RequestURI), "/x") {
		t.Errorf("the upstream saw %q", b.u1.last(t).RequestURI)
	}
}
