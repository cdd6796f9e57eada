package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/proxy"
)

// rotating is an upstream that knows some credentials and answers 401 to all
// others, with a body that a caller can tell.
type rotating struct {
	mu    sync.Mutex
	known []string
}

func (r *rotating) accept(credentials ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = credentials
}

func (r *rotating) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.known {
		if req.Header.Get("Authorization") == "Bearer "+c {
			fmt.Fprintf(w, "%s %d", c[len(c)-1:], len(body))
			return
		}
	}
	http.Error(w, "who are you?", http.StatusUnauthorized)
}

func newRotating(t *testing.T, change func(*proxy.Route)) (*bench, *rotating) {
	t.Helper()
	up := &rotating{}
	b := newBench(t, func(b *bench, routes []proxy.Route) []proxy.Route {
		b.u1.handler = up.ServeHTTP
		b.refresh = time.Hour // only a refusal makes the vault look
		for i := range routes {
			if routes[i].Name == "R1" && change != nil {
				change(&routes[i])
			}
		}
		return routes
	})
	return b, up
}

// J21 and FB12: a rotation that the vault did not notice yet is noticed by the
// upstream's 401, and the caller sees nothing of it. Both attempts have records
// and spans of their own, and each names the version that was sent.
func TestARotationIsNoticedByItsRefusal(t *testing.T) {
	for _, body := range []string{"", "x", strings.Repeat("x", 64<<10)} {
		b, up := newRotating(t, nil)
		const next = "CANARY-U1-rotated-2"
		up.accept(canary1)
		token := b.token(t, "alice")
		post := func(r *http.Request) {
			if body != "" {
				r.Method, r.Body, r.ContentLength = "POST", io.NopCloser(strings.NewReader(body)), int64(len(body))
			}
		}
		if res, got := b.do(t, "GET", "https://app.gw.test/x", token, post); res.StatusCode != 200 {
			t.Fatalf("before the rotation: %d %s", res.StatusCode, got)
		}
		b.secret1.Rotate(next)
		up.accept(next)
		res, got := b.do(t, "GET", "https://app.gw.test/x", token, post)
		if want := fmt.Sprintf("2 %d", len(body)); res.StatusCode != 200 || got != want {
			t.Fatalf("after the rotation: %d %q, want %q", res.StatusCode, got, want)
		}
		trace := res.Header.Get("X-Request-Id")
		requests := b.u1.requests()
		last, first := requests[len(requests)-1], requests[len(requests)-2]
		if first.Header.Get("X-Request-Id") != trace+"-1" || last.Header.Get("X-Request-Id") != trace+"-2" {
			t.Errorf("the upstream saw %q and %q of trace %s", first.Header["X-Request-Id"], last.Header["X-Request-Id"], trace)
		}
		var seen []audit.Event
		for _, e := range b.records(t) {
			if e.Trace == trace {
				seen = append(seen, e)
			}
		}
		if len(seen) != 4 {
			t.Fatalf("records of the trace: %+v", seen)
		}
		refused, intent, done := seen[1], seen[2], seen[3]
		if refused.Code != "credential-refused" || refused.Status != 401 || refused.Attempt != trace+"-1" || refused.Version != seen[0].Version || refused.Sent != int64(len(body)) {
			t.Errorf("the refused attempt: %+v", refused)
		}
		if intent.Kind != audit.KindIntent || intent.Attempt != trace+"-2" || intent.Version == seen[0].Version {
			t.Errorf("the second intent: %+v", intent)
		}
		if done.Code != "completed" || done.Status != 200 || done.Version != intent.Version || done.Sent != int64(len(body)) {
			t.Errorf("the second outcome: %+v", done)
		}
		var clients []string
		for _, s := range b.spans.GetSpans() {
			if s.SpanContext.TraceID().String() != trace || !strings.Contains(s.Name, "127.0.0.1") {
				continue
			}
			for _, a := range s.Attributes {
				if a.Key == "vaultspan.attempt" || a.Key == "vaultspan.secret.version" {
					clients = append(clients, a.Value.AsString())
				}
			}
		}
		if got, want := strings.Join(clients, " "), strings.Join([]string{refused.Attempt, refused.Version, intent.Attempt, intent.Version}, " "); got != want {
			t.Errorf("spans say %s, want %s", got, want)
		}
	}
}

// What cannot be sent again, or would be refused again, is passed on as it is.
func TestARefusalThatIsTheCallers(t *testing.T) {
	const next = "CANARY-U1-rotated-2"
	for name, c := range map[string]struct {
		change func(*proxy.Route)
		rotate bool
		body   int64
		chunks bool
	}{
		"nothing changed":  {},
		"body too large":   {rotate: true, body: 64<<10 + 1},
		"as configured":    {rotate: true, body: 11, change: func(r *proxy.Route) { r.Rotation.Resend = 10 }},
		"too large chunks": {rotate: true, body: 64<<10 + 1, chunks: true},
		"another status":   {rotate: true, change: func(r *proxy.Route) { r.Rotation.Refused = []int{403} }},
	} {
		t.Run(name, func(t *testing.T) {
			b, up := newRotating(t, c.change)
			up.accept(canary1)
			token := b.token(t, "alice")
			if res, _ := b.do(t, "GET", "https://app.gw.test/x", token); res.StatusCode != 200 {
				t.Fatal(res.Status)
			}
			up.accept(next)
			if c.rotate {
				b.secret1.Rotate(next)
			}
			res, got := b.do(t, "GET", "https://app.gw.test/x", token, func(r *http.Request) {
				if c.body > 0 {
					r.Method, r.Body, r.ContentLength = "POST", io.NopCloser(strings.NewReader(strings.Repeat("x", int(c.body)))), c.body
				}
				if c.chunks {
					r.ContentLength = -1
				}
			})
			if res.StatusCode != 401 || got != "who are you?\n" {
				t.Fatalf("got %d %q, want the upstream's 401", res.StatusCode, got)
			}
			if n := len(b.u1.requests()); n != 2 {
				t.Errorf("the upstream saw %d requests, want 2", n)
			}
		})
	}
}

// A body without a length is sent again when it has ended.
func TestAnEndedStreamIsSentAgain(t *testing.T) {
	b, up := newRotating(t, nil)
	const next = "CANARY-U1-rotated-2"
	up.accept(canary1)
	token := b.token(t, "alice")
	b.do(t, "GET", "https://app.gw.test/x", token)
	b.secret1.Rotate(next)
	up.accept(next)
	res, got := b.do(t, "POST", "https://app.gw.test/x", token, func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader("twelve bytes")), -1
	})
	if res.StatusCode != 200 || got != "2 12" {
		t.Errorf("got %d %q", res.StatusCode, got)
	}
}

// Some upstreams learn of a new version later than the vault.
func TestTheVersionBeforeServesWhileItOverlaps(t *testing.T) {
	b, up := newRotating(t, func(r *proxy.Route) { r.Rotation.Overlap = time.Hour })
	up.accept(canary1)
	token := b.token(t, "alice")
	b.do(t, "GET", "https://app.gw.test/x", token)
	b.secret1.Rotate("CANARY-U1-rotated-2")
	up.accept("CANARY-U1-rotated-2")
	if res, got := b.do(t, "GET", "https://app.gw.test/x", token); res.StatusCode != 200 || got != "2 0" {
		t.Fatalf("got %d %q", res.StatusCode, got)
	}
	up.accept(canary1)
	if res, got := b.do(t, "GET", "https://app.gw.test/x", token); res.StatusCode != 200 || got != canary1[len(canary1)-1:]+" 0" {
		t.Errorf("an upstream that knows the version before only: %d %q", res.StatusCode, got)
	}
}

// Whether the upstream's refusal is answered from one rotation or many, nobody
// waits for more than one reading.
func TestManyCallersMeetOneRotation(t *testing.T) {
	b, up := newRotating(t, nil)
	const next = "CANARY-U1-rotated-2"
	up.accept(canary1)
	token := b.token(t, "alice")
	b.do(t, "GET", "https://app.gw.test/x", token)
	b.secret1.Rotate(next)
	up.accept(next)
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			client := b.client()
			defer client.CloseIdleConnections()
			if err := sends(client, "POST", "https://app.gw.test/x", "app.gw.test", token, 200); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
}
