package proxy_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

// echoed is canary1 as upstreams send it back.
var echoed = map[string]string{
	"raw": canary1, "base64": base64.StdEncoding.EncodeToString([]byte("svc:" + canary1)), "base64url": base64.URLEncoding.EncodeToString([]byte("x" + canary1)),
	"hex": hex.EncodeToString([]byte(canary1)), "percent": url.QueryEscape(canary1), "json": fmt.Sprintf(`\u0043%s`, canary1[1:]),
}

// leaks says whether a text holds canary1 in any of these ways, or a good part of
// it.
func leaks(s string) bool {
	for _, e := range echoed {
		if strings.Contains(s, e) || strings.Contains(s, e[8:len(e)-6]) {
			return true
		}
	}
	return false
}

// chunked is a body in two chunks, with a trailer.
func chunked(first, second, trailer string) string {
	var s strings.Builder
	s.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	for _, c := range []string{first, second} {
		if c != "" {
			fmt.Fprintf(&s, "%x\r\n%s\r\n", len(c), c)
		}
	}
	return s.String() + "0\r\n" + trailer + "\r\n"
}

// answers serves each target with bytes of its own.
func answers(of map[string]string) func(*peer) {
	return func(p *peer) {
		for {
			head, _, err := p.request()
			if err != nil {
				return
			}
			p.reply(of[target(head)])
			if strings.Contains(of[target(head)], "Connection: close") {
				return
			}
		}
	}
}

// place is an answer with the credential somewhere in it.
type place struct{ id, where, answer string }

// places has the credential, in one spelling, in each place of an answer.
func places(echo string) map[string]place {
	ok := func(fields, body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", fields, len(body), body)
	}
	half := len(echo) / 2
	return map[string]place{
		"/body":     {"J01", "body", ok("", `{"headers": {"Authorization": "Bearer `+echo+`"}}`)},
		"/error":    {"J06", "body", fmt.Sprintf("HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\nbad key %s", 8+len(echo), echo)},
		"/chunks":   {"J02", "body", "HTTP/1.1 500 Oops\r\n" + chunked("key "+echo[:half], echo[half:]+".", "")},
		"/close":    {"J02", "body", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + echo},
		"/header":   {"J04", "header", ok("X-Echo: a, "+echo+"\r\nX-Other: b\r\n", "ok")},
		"/name":     {"J04", "header", ok("X-"+hex.EncodeToString([]byte(canary1))+": a\r\n", "ok")},
		"/cookie":   {"J04", "header", ok("Set-Cookie: a="+echo+"; Path=/\r\nSet-Cookie: b=c\r\n", "ok")},
		"/redirect": {"J05", "header", "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://evil.test/?k=" + echo + "\r\nContent-Length: 0\r\n\r\n"},
		"/status":   {"J04", "status", "HTTP/1.1 200 " + echo + "\r\nContent-Length: 2\r\n\r\nok"},
		"/trailer":  {"J04", "trailer", "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\n" + chunked("ok", "", "X-Sum: "+echo+"\r\n")},
		"/hints":    {"J04", "informational", "HTTP/1.1 103 Early Hints\r\nLink: <" + echo + ">\r\n\r\n" + ok("", "ok")},
	}
}

// J01, J02, J04, J05, J06: wherever an upstream sends the credential back, the
// caller gets asterisks, and the operator is told.
func TestAnEchoIsMaskedWhereverItIs(t *testing.T) {
	for spelling, echo := range echoed {
		all := places(echo)
		of := map[string]string{}
		for path, p := range all {
			of[path] = p.answer
		}
		reader := sdkmetric.NewManualReader()
		upstream := newScript(t, answers(of))
		b := newBench(t, func(b *bench, routes []proxy.Route) []proxy.Route {
			b.meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
			return append(routes, proxy.Route{
				Name: "RAW", Match: []string{"raw.gw.test/"}, Upstream: "http://" + upstream.Addr().String(), Secret: "prod/team-dev/U1_KEY", Inject: vault.Bearer(),
			})
		})
		token := b.token(t, "alice")
		for path, p := range all {
			c := b.raw(t, false)
			c.send("GET " + path + " HTTP/1.1\r\nHost: raw.gw.test\r\nTE: trailers\r\nConnection: TE, close\r\nAuthorization: Bearer " + token + "\r\n\r\n")
			got := c.ends()
			if leaks(got) {
				t.Errorf("%s %s as %s passes:\n%s", p.id, path, spelling, got)
			}
			if path != "/status" && path != "/name" && !strings.Contains(got, "******") {
				t.Errorf("%s %s as %s: nothing is masked in\n%s", p.id, path, spelling, got)
			}
			if status, _, _ := strings.Cut(p.answer, "\r\n"); path != "/status" && path != "/hints" && !strings.HasPrefix(got, status[:12]) {
				t.Errorf("%s %s as %s: the answer is %s", p.id, path, spelling, got)
			}
		}
		if n := len(upstream.requests()); n != len(all) {
			t.Errorf("J05 the upstream was asked %d times for %d", n, len(all))
		}
		events := b.records(t)
		for path, p := range all {
			if e := outcome(t, events, path); e.Code != "secret-reflected" || e.Detail != p.where+" masked" {
				t.Errorf("%s %s as %s is recorded as %s, %s", p.id, path, spelling, e.Code, e.Detail)
			}
		}
		if n := reflections(t, reader)["RAW masked"]; n != int64(len(all)) {
			t.Errorf("%d of %d are counted", n, len(all))
		}
		logged := b.logs.String()
		if n := strings.Count(logged, `"level":"ERROR","msg":"the upstream sent the credential back"`); n != len(all) || leaks(logged) {
			t.Errorf("%d of %d are logged", n, len(all))
		}
		marked := 0
		for _, s := range b.spans.GetSpans() {
			for _, a := range s.Attributes {
				if a.Key == "vaultspan.secret.reflected" {
					marked++
				}
			}
		}
		if marked != len(all) {
			t.Errorf("%d of %d are traced", marked, len(all))
		}
	}
}

// reflections is the counter of echoes by "route result".
func reflections(t *testing.T, reader *sdkmetric.ManualReader) map[string]int64 {
	t.Helper()
	var metrics metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &metrics); err != nil {
		t.Fatal(err)
	}
	counted := map[string]int64{}
	for _, scope := range metrics.ScopeMetrics {
		for _, m := range scope.Metrics {
			if data, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "vaultspan.secret.reflections" {
				for _, p := range data.DataPoints {
					route, _ := p.Attributes.Value("vaultspan.route")
					result, _ := p.Attributes.Value("vaultspan.result")
					counted[route.AsString()+" "+result.AsString()] += p.Value
				}
			}
		}
	}
	return counted
}

// On a route that blocks, what is seen before the header is passed on is 502, and
// what is seen later ends the response short.
func TestABlockingRouteRefusesOrCuts(t *testing.T) {
	long := strings.Repeat("x", 70<<10)
	all := places(canary1)
	all["/late"] = place{"J02", "body", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s%s", len(long)+len(canary1), long, canary1)}
	all["/events"] = place{"J02", "body", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n" + chunked("data: "+canary1+"\n\n", "data: more\n\n", "")}
	of := map[string]string{}
	for path, p := range all {
		of[path] = p.answer
	}
	of["/fine"] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	of["/long"] = fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(long), long)
	of["/empty"] = "HTTP/1.1 204 No Content\r\n\r\n"
	of["/pieces"] = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\n" + chunked("one", "two", "X-Sum: 42\r\n")
	b, _ := newScriptBench(t, answers(of), func(r *proxy.Route) { r.Guard = "block" })
	token := b.token(t, "alice")
	results := map[string]string{"/late": "cut", "/events": "cut", "/hints": "masked"}
	for path, p := range all {
		c := b.raw(t, false)
		c.send("GET " + path + " HTTP/1.1\r\nHost: raw.gw.test\r\nTE: trailers\r\nConnection: TE, close\r\nAuthorization: Bearer " + token + "\r\n\r\n")
		got := c.ends()
		if leaks(got) || strings.Contains(got, "more") {
			t.Errorf("%s %s passes:\n%.600s", p.id, path, got)
		}
		switch results[path] {
		case "masked":
		case "cut":
			if got == "" {
				break // the header was passed on, and cut off on its way
			}
			res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), nil)
			if err != nil {
				t.Fatalf("%s %s: %v", p.id, path, err)
			}
			if _, err := io.ReadAll(res.Body); res.StatusCode != 200 || err == nil {
				t.Errorf("%s %s ends well: %d", p.id, path, res.StatusCode)
			}
		default:
			if path == "/trailer" {
				results[path] = strings.Fields(got)[1] // the trailer may be read with the body
				break
			}
			results[path] = "blocked"
			if !strings.HasPrefix(got, "HTTP/1.1 502 ") || !strings.Contains(got, `"code":"secret-reflected"`) {
				t.Errorf("%s %s is answered\n%s", p.id, path, got)
			}
		}
	}
	for path, want := range map[string]string{"/fine": "ok", "/long": long, "/empty": "", "/pieces": "onetwo"} {
		res, body := b.do(t, "GET", "http://raw.gw.test"+path, token)
		if res.StatusCode > 204 || body != want || path == "/pieces" && res.Trailer.Get("X-Sum") != "42" {
			t.Errorf("%s is answered %d with %d bytes, trailer %v", path, res.StatusCode, len(body), res.Trailer)
		}
	}
	events := b.records(t)
	for path, p := range all {
		result := results[path]
		if path == "/trailer" {
			result = map[string]string{"502": "blocked", "200": "cut"}[result]
		}
		if e := outcome(t, events, path); e.Code != "secret-reflected" || e.Detail != p.where+" "+result {
			t.Errorf("%s %s is recorded as %s, %s, want %s %s", p.id, path, e.Code, e.Detail, p.where, result)
		}
	}
	for _, path := range []string{"/fine", "/long", "/empty", "/pieces"} {
		if e := outcome(t, events, path); e.Code != "completed" || e.Detail != "" {
			t.Errorf("%s is recorded as %s, %s", path, e.Code, e.Detail)
		}
	}
}

// Nothing that cannot be looked through is asked for, and what comes encoded all
// the same is decoded or refused.
func TestEncodedAnswersAreDecodedOrRefused(t *testing.T) {
	plain := strings.Repeat("some text, ", 20_000) + `"` + canary1 + `"` + strings.Repeat(", more text", 20_000)
	encode := func(w func(io.Writer) io.WriteCloser) string {
		var b bytes.Buffer
		e := w(&b)
		io.WriteString(e, plain)
		e.Close()
		return b.String()
	}
	bodies := map[string]string{
		"gzip": encode(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }),
		"br":   encode(func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) }),
		"zstd": encode(func(w io.Writer) io.WriteCloser { e, _ := zstd.NewWriter(w); return e }),
	}
	bodies["X-GZIP"], bodies["identity"] = bodies["gzip"], plain
	refusals := map[string]string{"deflate": "x", "compress": "x", "gzip, br": bodies["gzip"], "aws-chunked": "x"}
	head := func(encoding string, n int) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\nEtag: \"a\"\r\nAccept-Ranges: bytes\r\nContent-Digest: x\r\n\r\n", encoding, n)
	}
	b, upstream := newScriptBench(t, func(p *peer) {
		for {
			request, _, err := p.request()
			if err != nil {
				return
			}
			encoding, _ := url.PathUnescape(target(request)[1:])
			switch body := bodies[encoding] + refusals[encoding]; {
			case strings.HasPrefix(request, "HEAD"):
				p.reply(head(encoding, len(body)))
			case encoding == "part":
				p.reply("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/9\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx")
			case encoding == "broken":
				p.reply("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain")
			default:
				p.reply(head(encoding, len(body)) + body)
			}
		}
	})
	token := b.token(t, "alice")
	for encoding, body := range bodies {
		res, got := b.do(t, "GET", "http://raw.gw.test/"+encoding, token, func(r *http.Request) {
			r.Header.Set("Accept-Encoding", "gzip, br")
			r.Header.Set("Range", "bytes=0-3")
			r.Header.Set("If-Range", `"a"`)
			r.Header.Set("Request-Range", "bytes=0-3")
			r.Header.Set("If_Range", `"a"`)
		})
		if got != strings.Replace(plain, canary1, masked1, 1) {
			t.Errorf("%s becomes %d bytes", encoding, len(got))
		}
		if encoding != "identity" && (res.Header.Get("Content-Encoding") != "" || res.Header.Get("Etag") != `W/"a"` || res.Header.Get("Accept-Ranges") != "" || res.Header.Get("Content-Digest") != "") {
			t.Errorf("%s has the header %v", encoding, res.Header)
		}
		res, _ = b.do(t, "HEAD", "http://raw.gw.test/"+encoding, token, func(r *http.Request) { r.Header.Set("Accept-Encoding", "br") })
		if res.Header.Get("Content-Encoding") != encoding || res.ContentLength != int64(len(body)) || res.Header.Get("Etag") != `"a"` {
			t.Errorf("HEAD of %s has the header %v", encoding, res.Header)
		}
	}
	for encoding := range refusals {
		res, body := b.do(t, "GET", "http://raw.gw.test/"+url.PathEscape(encoding), token)
		refused(t, res, body, 502, "upstream-invalid")
	}
	res, body := b.do(t, "GET", "http://raw.gw.test/part", token)
	refused(t, res, body, 502, "upstream-invalid")
	c := b.raw(t, false)
	c.send("GET /broken HTTP/1.1\r\nHost: raw.gw.test\r\nConnection: close\r\nAuthorization: Bearer " + token + "\r\n\r\n")
	if got := c.ends(); strings.Contains(got, "plain") || strings.HasSuffix(got, "0\r\n\r\n") {
		t.Errorf("what is not gzip passes as\n%s", got)
	}
	for _, head := range upstream.requests() {
		if !strings.Contains(head, "\r\nAccept-Encoding: identity\r\n") || strings.Contains(strings.ToLower(head), "range") {
			t.Errorf("the upstream was asked\n%s", head)
		}
	}
}

// What is turned off is off: the answer is the upstream's own, and may be asked
// for in parts.
func TestAnUnguardedRouteChangesNothing(t *testing.T) {
	b, upstream := newScriptBench(t, answers(map[string]string{"/x": "HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: " + fmt.Sprint(len(canary1)) + "\r\n\r\n" + canary1}),
		func(r *proxy.Route) { r.Unguarded = true })
	_, body := b.do(t, "GET", "http://raw.gw.test/x", b.token(t, "alice"), func(r *http.Request) {
		r.Header.Set("Accept-Encoding", "br")
		r.Header.Set("Range", "bytes=0-3")
	})
	if head := upstream.requests()[0]; body != canary1 || !strings.Contains(head, "\r\nRange: bytes=0-3\r\n") || !strings.Contains(head, "\r\nAccept-Encoding: br\r\n") {
		t.Errorf("%s, asked for with\n%s", body, head)
	}
	if e := outcome(t, b.records(t), "/x"); e.Code != "completed" {
		t.Errorf("recorded as %s", e.Code)
	}
}

// A request that was sent with two versions is watched for both.
func TestBothVersionsAreWatchedFor(t *testing.T) {
	const next = "CANARY-U1-rotated-2"
	b, up := newRotating(t, nil)
	up.accept(canary1)
	token := b.token(t, "alice")
	b.do(t, "GET", "https://app.gw.test/x", token)
	b.secret1.Rotate(next)
	up.accept(next)
	b.u1.handler = func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer "+next {
			json.NewEncoder(w).Encode(map[string]string{"old": canary1, "new": next})
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	}
	res, body := b.do(t, "GET", "https://app.gw.test/both", token)
	if want := fmt.Sprintf(`{"new":"%s","old":"%s"}`+"\n", strings.Repeat("*", len(next)), masked1); res.StatusCode != 200 || body != want {
		t.Errorf("%d %s, want %s", res.StatusCode, body, want)
	}
}
