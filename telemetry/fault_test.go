package telemetry_test

import (
	"bytes"
	"context"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/vaultspan/vaultspan/telemetry"
	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// send makes spans for a collector and gives up on it after a moment. It
// returns the log and, if the collector had answered by then, how many spans
// the metric says were dropped.
func send(t *testing.T, o telemetry.OTLP, spans int) (log *output, dropped string) {
	t.Helper()
	o.Headers = map[string]func() string{"x-token": secret(canary)}
	tel, log := start(t, telemetry.Setup{Config: telemetry.Config{OTLP: o}})
	for range spans {
		_, span := tel.TracerProvider.Tracer(attr.Scope).Start(t.Context(), "GET wiki")
		span.End()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if tel.TracerProvider.(*sdktrace.TracerProvider).ForceFlush(ctx) == nil {
		dropped = scrape(t, tel)[`vaultspan_telemetry_dropped_total{vaultspan_signal="traces"}`]
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	tel.Shutdown(ctx)
	if strings.Contains(log.String(), canary) {
		t.Errorf("the header is in the log: %s", log)
	}
	return log, dropped
}

// hang reads a request, which lets the server see when the client gives up, and
// never answers.
func hang(_ http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func TestABadCollectorCostsALineAndACounter(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	echo := func(status int, header http.Header, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			maps.Copy(w.Header(), header)
			w.WriteHeader(status)
			w.Write([]byte(body + r.Header.Get("X-Token")))
		}
	}
	plain := http.Header{"Content-Type": {"application/x-protobuf"}}
	partial, _ := proto.Marshal(&coltrace.ExportTraceServiceResponse{PartialSuccess: &coltrace.ExportTracePartialSuccess{
		RejectedSpans: 2, ErrorMessage: canary + " (9 spans rejected)",
	}})
	for _, c := range []struct {
		id, name string
		handler  http.HandlerFunc
		dropped  string // of three spans
		reason   string
	}{
		{"FT01", "refuses", echo(401, nil, "you sent "), "3", "status 401 Unauthorized"},
		{"FT02", "hangs", hang, "", "no answer in time"},
		{"FT03", "throttles", echo(429, http.Header{"Retry-After": {"3600"}}, "you sent "), "3", "status 429 Too Many Requests"},
		{"FT03", "rejects a part", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = plain["Content-Type"]
			w.Write(partial)
		}, "2", "the collector rejected a part"},
		{"FT04 M17", "answers 64 MB", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = plain["Content-Type"]
			for chunk := bytes.Repeat([]byte{0xff}, 1<<20); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, "3", "the answer could not be read"},
		{"M17", "redirects", echo(307, http.Header{"Location": {other.URL}}, ""), "3", "status 307: redirects are not followed"},
	} {
		t.Run(c.id+" "+c.name, func(t *testing.T) {
			var calls atomic.Int64
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/v1/traces") {
					calls.Add(1)
					c.handler(w, r)
				}
			}))
			defer server.Close()
			defer server.CloseClientConnections()
			log, dropped := send(t, telemetry.OTLP{Endpoint: server.URL, CA: caFile(t, server), Protocol: "http"}, 3)
			lines := log.lines(t)
			if len(lines) != 1 || lines[0]["reason"] != c.reason || lines[0]["signal"] != "traces" || lines[0]["endpoint"] != server.URL {
				t.Errorf("log %s", log)
			}
			if dropped != c.dropped {
				t.Errorf("dropped %s, want %s", dropped, c.dropped)
			}
			if n := calls.Load(); n != 1 {
				t.Errorf("%d calls in half a second", n)
			}
		})
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

func TestACertificateThatDoesNotVerifyIsNeverAnsweredWithPlaintext(t *testing.T) { // FT08, M17
	for _, protocol := range []string{"grpc", "http"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var first atomic.Value
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.Listener.Close()
		server.Listener = sniffing{listener, &first}
		server.EnableHTTP2 = true
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		log, _ := send(t, telemetry.OTLP{Endpoint: server.URL, Protocol: protocol}, 1)
		server.Close()
		if b, _ := first.Load().(byte); b != 0x16 { // a TLS handshake record
			t.Errorf("%s: the first byte sent was %#x", protocol, b)
		}
		lines := log.lines(t)
		if len(lines) != 1 {
			t.Fatalf("%s: %s", protocol, log)
		}
		// On a machine too busy for a handshake in send's time, that is the reason.
		if why := lines[0]["reason"]; why != "the certificate is signed by an unknown authority" && why != "no answer in time" {
			t.Errorf("%s: %s", protocol, log)
		}
	}
}

// sniffing is a listener that remembers the last first byte of a connection
// that was not TLS, or else of any.
type sniffing struct {
	net.Listener
	first *atomic.Value
}

func (l sniffing) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &sniffed{Conn: c, first: l.first}, err
}

type sniffed struct {
	net.Conn
	first *atomic.Value
	seen  bool
}

func (c *sniffed) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.seen {
		c.seen = true
		if old, _ := c.first.Load().(byte); old == 0 || old == 0x16 {
			c.first.Store(p[0])
		}
	}
	return n, err
}

func TestADeadCollectorNeverBlocksASpan(t *testing.T) { // FT01
	const spans = 3 * 4096
	tel, _ := start(t, telemetry.Setup{Config: telemetry.Config{OTLP: telemetry.OTLP{Endpoint: "https://127.0.0.1:1"}}})
	for range spans { // would not return if a queue had no end, or waited
		_, span := tel.TracerProvider.Tracer(attr.Scope).Start(t.Context(), "GET wiki")
		span.End()
	}
	if got, _ := strconv.Atoi(scrape(t, tel)[`vaultspan_telemetry_dropped_total{vaultspan_signal="traces"}`]); got < spans-4096-512 {
		t.Errorf("dropped %d of %d", got, spans)
	}
}

func TestShutdownEndsInFiveSeconds(t *testing.T) { // FT02
	if testing.Short() {
		t.Skip("waits for the whole flush")
	}
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(hang))
	defer server.Close()
	defer server.CloseClientConnections()
	tel, _ := start(t, telemetry.Setup{Config: telemetry.Config{OTLP: telemetry.OTLP{Endpoint: server.URL, CA: caFile(t, server), Protocol: "http"}}})
	emit(t, tel)
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
	defer cancel()
	if err := tel.Shutdown(ctx); err == nil {
		t.Error("want an error that says not everything was sent")
	}
	if ctx.Err() != nil {
		t.Error("Shutdown took more than its five seconds")
	}
}
