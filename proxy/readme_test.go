package proxy_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/telemetry"
	"github.com/vaultspan/vaultspan/vault"
)

// fenced returns the README's fenced blocks of one language, in order.
func fenced(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for part := range strings.SplitSeq(string(text), "\n```"+language+"\n") {
		blocks = append(blocks, part[:max(0, strings.Index(part, "\n```"))])
	}
	return blocks[1:]
}

// The README's first screen: what is sent, what the upstream receives, and the
// span tree, through a gateway with a route like the one it shows.
func TestReadmeShowsWhatHappens(t *testing.T) {
	blocks := fenced(t, "http")
	if len(blocks) != 2 {
		t.Fatalf("the README has %d http blocks", len(blocks))
	}
	sent, received := parseRequest(t, blocks[0]), parseRequest(t, blocks[1])
	b := newBench(t, func(b *bench, routes []proxy.Route) []proxy.Route {
		return append(routes, proxy.Route{
			Name: "stripe", Match: []string{sent.Host + "/stripe/"}, Strip: "/stripe", Upstream: b.u2.URL,
			Secret: "prod/team-dev/U1_KEY", Inject: vault.Bearer(), Trace: "none", Forwarded: "none",
		})
	})
	var drawn strings.Builder
	tree := telemetry.NewTree(&drawn, telemetry.TreeOptions{Stable: true})
	b.gateway.Tracer.(*sdktrace.TracerProvider).RegisterSpanProcessor(tree)
	res, body := b.do(t, sent.Method, "http://"+sent.Host+sent.URL.RequestURI(), b.token(t, "alice"), func(r *http.Request) {
		r.Header.Set("User-Agent", sent.Header.Get("User-Agent"))
		r.Header.Set("Accept-Encoding", "identity") // else net/http adds its own
	})
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	got := b.u2.last(t)
	if line := got.Method + " " + got.RequestURI; line != received.Method+" "+received.RequestURI {
		t.Errorf("the upstream received %q", line)
	}
	got.Header.Del("Accept-Encoding")
	for name, values := range got.Header {
		want, _, _ := strings.Cut(received.Header.Get(name), "…")
		if name == "Authorization" {
			want = "Bearer "
		}
		if name == "X-Request-Id" {
			want = ""
		}
		if !strings.HasPrefix(values[0], want) || received.Header[name] == nil {
			t.Errorf("the upstream received %s: %q, the README says %q", name, values, received.Header[name])
		}
	}
	for name := range received.Header {
		if got.Header[name] == nil {
			t.Errorf("the upstream did not receive %s", name)
		}
	}
	b.gateway.Wait()
	want := fenced(t, "text")[0]
	normal := strings.NewReplacer("stripe.test", "api.stripe.com", "127.0.0.1", "api.stripe.com", "R1", "stripe",
		"team-dev", "payments", "U1_KEY", "STRIPE_API_KEY", "issuer=idp", "issuer=corp", "role=dev", "role=payments-engineer")
	if tree := strings.TrimSpace(normal.Replace(drawn.String())); strings.Join(strings.Fields(tree), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("the span tree is\n%s\nthe README shows\n%s", tree, want)
	}
}

func parseRequest(t *testing.T, block string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(block, "\n", "\r\n") + "\r\n\r\n")))
	if err != nil {
		t.Fatalf("%v in\n%s", err, block)
	}
	return r
}

func TestReadmeListsEveryRefusal(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) == 5 && strings.Contains(cells[2], "`") {
			rows = append(rows, fmt.Sprint(strings.TrimSpace(cells[1]), strings.Trim(strings.TrimSpace(cells[2]), "`"), strings.TrimSpace(cells[3])))
		}
	}
	var want []string
	for _, r := range proxy.Refusals() {
		want = append(want, fmt.Sprint(fmt.Sprint(r.Status), r.Code, r.Title))
	}
	if !slices.Equal(rows, want) {
		t.Errorf("the README's table is\n%s\nthe gateway's is\n%s", strings.Join(rows, "\n"), strings.Join(want, "\n"))
	}
}
