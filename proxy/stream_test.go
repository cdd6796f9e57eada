package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/proxy"
)

// open begins a request and returns its response with the body unread.
func (b *bench) open(t *testing.T, method, target, token string, edit ...func(*http.Request)) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	for _, f := range edit {
		f(r)
	}
	c := b.client()
	t.Cleanup(c.CloseIdleConnections)
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if strings.HasPrefix(target, "https") != (res.ProtoMajor == 2) {
		t.Errorf("%s was answered in %s", target, res.Proto)
	}
	return res
}

// outcome returns the one outcome of a path, from the records.
func outcome(t *testing.T, events []audit.Event, path string) audit.Event {
	t.Helper()
	var found []audit.Event
	for _, e := range events {
		if e.Kind == audit.KindOutcome && e.Path == path {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s has %d outcomes: %+v", path, len(found), found)
	}
	return found[0]
}

// received waits for a value, within patience.
func received[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// ways are the listener's and the upstream's protocols, by URL.
var ways = []struct{ name, url string }{
	{"HTTP/1 to HTTP/2", "http://app.gw.test"}, {"HTTP/2 to HTTP/2", "https://app.gw.test"},
	{"HTTP/1 to HTTP/1", "http://api.gw.test/api"}, {"HTTP/2 to HTTP/1", "https://api.gw.test/api"},
}

// each runs one handler behind every pair of protocols.
func each(t *testing.T, handler http.HandlerFunc, run func(t *testing.T, b *bench, url string)) {
	b := newBench(t)
	b.u1.handler, b.u2.handler = handler, handler
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) { run(t, b, way.url) })
	}
	for _, r := range b.u1.requests() {
		if r.ProtoMajor != 2 {
			t.Errorf("the HTTP/2 upstream was spoken to in %s", r.Proto)
		}
	}
}

func TestEventsArriveOneByOne(t *testing.T) {
	arrived := make(chan string)
	each(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			select { // the next only when this one is there
			case <-arrived:
			case <-r.Context().Done():
				return
			}
		}
	}, func(t *testing.T, b *bench, url string) {
		res := b.open(t, "GET", url+"/events", b.token(t, "alice"))
		events := bufio.NewReader(res.Body)
		for i := range 3 {
			line, err := events.ReadString('\n')
			if err != nil || line != fmt.Sprintf("data: %d\n", i) {
				t.Fatalf("event %d is %q, %v", i, line, err)
			}
			events.ReadString('\n')
			arrived <- line
		}
		if rest, err := io.ReadAll(events); err != nil || len(rest) != 0 {
			t.Errorf("after the last event: %q %v", rest, err)
		}
	})
}

// Both sides of a request move at the same time, over HTTP/1 too: an early
// answer must not make the gateway swallow the rest of the body.
func TestRequestAndResponseOverlap(t *testing.T) {
	each(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		for lines := bufio.NewReader(r.Body); ; {
			line, err := lines.ReadString('\n')
			io.WriteString(w, "echo "+line)
			w.(http.Flusher).Flush()
			if err != nil {
				return
			}
		}
	}, func(t *testing.T, b *bench, url string) {
		body, sends := io.Pipe()
		res := b.open(t, "POST", url+"/echo", b.token(t, "alice"), func(r *http.Request) { r.Body = body })
		lines := bufio.NewReader(res.Body)
		for i := range 3 {
			fmt.Fprintln(sends, i)
			if line, err := lines.ReadString('\n'); line != fmt.Sprintf("echo %d\n", i) {
				t.Fatalf("line %d is %q, %v", i, line, err)
			}
		}
		sends.Close()
		if rest, err := io.ReadAll(lines); string(rest) != "echo " || err != nil {
			t.Errorf("the end is %q %v", rest, err)
		}
	})
}

func TestTrailersPass(t *testing.T) {
	each(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum, X-Request-Id, Set-Cookie")
		io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set("X-Sum", "1")
		w.Header().Set("X-Request-Id", "theirs")
		w.Header().Set("Set-Cookie", "__Host-vaultspan=fixed")
		w.Header().Set(http.TrailerPrefix+"X-Late", "2")
	}, func(t *testing.T, b *bench, url string) {
		res, body := b.do(t, "GET", url+"/", b.token(t, "alice"))
		if body != "body" || res.Trailer.Get("X-Sum") != "1" || res.Trailer.Get("X-Late") != "2" {
			t.Errorf("body %q, trailer %v", body, res.Trailer)
		}
		if got := res.Trailer.Get("X-Request-Id") + res.Trailer.Get("Set-Cookie"); got != "" {
			t.Errorf("the upstream's trailer sets what is ours: %q", got)
		}
	})
}

func TestInformationalResponsesPass(t *testing.T) {
	each(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.Header().Set("Set-Cookie", "__Host-vaultspan=fixed")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Set-Cookie")
		io.WriteString(w, "done")
	}, func(t *testing.T, b *bench, url string) {
		hints := make(chan http.Header, 1)
		res, body := b.do(t, "GET", url+"/", b.token(t, "alice"), func(r *http.Request) { *r = *withHints(r, hints) })
		if h := received(t, hints, "early hints"); h.Get("Link") == "" || h.Get("Set-Cookie") != "" {
			t.Errorf("the hints are %v", h)
		}
		if body != "done" || res.Header.Get("X-Request-Id") == "" {
			t.Errorf("after the hints: %q with X-Request-Id %q", body, res.Header.Get("X-Request-Id"))
		}
	})
}

func TestResponsesWithoutABody(t *testing.T) { // C21 for a well-behaved upstream
	each(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/204"):
			w.WriteHeader(204)
		case strings.HasSuffix(r.URL.Path, "/304"):
			w.Header().Set("Etag", `"x"`)
			w.WriteHeader(304)
		default:
			w.Header().Set("Content-Length", "10")
		}
	}, func(t *testing.T, b *bench, url string) {
		token := b.token(t, "alice")
		if res, body := b.do(t, "GET", url+"/204", token); res.StatusCode != 204 || body != "" {
			t.Errorf("204: %v %q", res, body)
		}
		if res, body := b.do(t, "GET", url+"/304", token); res.StatusCode != 304 || body != "" || res.Header.Get("Etag") != `"x"` {
			t.Errorf("304: %v %q", res, body)
		}
		if res, body := b.do(t, "HEAD", url+"/", token); res.StatusCode != 200 || body != "" || res.ContentLength != 10 {
			t.Errorf("HEAD: %v %q", res, body)
		}
	})
}

// Promise 8 and N22: an open stream ends when the policy that let it begin no
// longer does, or when its token expires, and the record says why.
func TestOpenStreamsAreDecidedAgain(t *testing.T) {
	b := newBench(t)
	b.gateway.Recheck = 5 * time.Millisecond
	b.u1.handler = func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "open")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	ends := func(res *http.Response) error {
		_, err := io.ReadAll(res.Body)
		return err
	}

	claims := b.idp.Claims("alice")
	claims["exp"] = time.Now().Add(2 * time.Second).Unix()
	short, err := b.idp.Mint(claims, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ends(b.open(t, "GET", "https://app.gw.test/expires", short)); err == nil {
		t.Error("a stream outlived its token and ended cleanly")
	}

	denied := b.open(t, "GET", "https://app.gw.test/denied", b.token(t, "alice"))
	settings := b.settings
	settings.Policy, err = policy.New(t.Context(), policy.Rules{Roles: map[string]policy.Role{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.gateway.Swap(settings); err != nil {
		t.Fatal(err)
	}
	if err := ends(denied); err == nil {
		t.Error("a stream outlived its right and ended cleanly")
	}

	if err := b.gateway.Swap(b.settings); err != nil {
		t.Fatal(err)
	}
	closed := b.open(t, "GET", "https://app.gw.test/closed", b.token(t, "alice"))
	settings = b.settings
	settings.Routes = []proxy.Route{settings.Routes[1]}
	if err := b.gateway.Swap(settings); err != nil {
		t.Fatal(err)
	}
	if err := ends(closed); err == nil {
		t.Error("a stream outlived its route and ended cleanly")
	}

	events := b.records(t)
	for path, code := range map[string]string{"/expires": "token-expired", "/denied": "denied", "/closed": "route-closed"} {
		if e := outcome(t, events, path); e.Code != code || e.Received != 4 || e.Status != 200 || e.Duration <= 0 {
			t.Errorf("%s ended as %+v", path, e)
		}
	}
}
