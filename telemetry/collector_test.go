package telemetry_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/vaultspan/vaultspan/telemetry"
)

// collector is a real OTLP receiver that keeps what it was sent.
type collector struct {
	protocol string // grpc or http
	url      string
	ca       string // PEM file

	coltrace.UnimplementedTraceServiceServer

	mu       sync.Mutex
	spans    []*tracepb.Span
	resource *resourcepb.Resource
	metrics  []string
	logs     []string
	headers  []http.Header // of every request
	paths    []string
}

func (c *collector) sawTraces(headers http.Header, r *coltrace.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers = append(c.headers, headers)
	for _, rs := range r.ResourceSpans {
		c.resource = rs.Resource
		for _, ss := range rs.ScopeSpans {
			c.spans = append(c.spans, ss.Spans...)
		}
	}
}

func (c *collector) sawMetrics(headers http.Header, r *colmetrics.ExportMetricsServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers = append(c.headers, headers)
	for _, rm := range r.ResourceMetrics {
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				c.metrics = append(c.metrics, m.Name)
			}
		}
	}
}

func (c *collector) sawLogs(headers http.Header, r *collogs.ExportLogsServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers = append(c.headers, headers)
	for _, rl := range r.ResourceLogs {
		for _, sl := range rl.ScopeLogs {
			for _, record := range sl.LogRecords {
				c.logs = append(c.logs, record.Body.GetStringValue())
			}
		}
	}
}

// names are the spans received so far.
func (c *collector) names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, s := range c.spans {
		names = append(names, s.Name)
	}
	return names
}

func overHTTPS(t *testing.T) *collector {
	c := &collector{protocol: "http"}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request, reply proto.Message
		var seen func()
		switch {
		case strings.HasSuffix(r.URL.Path, "/v1/traces"):
			m := new(coltrace.ExportTraceServiceRequest)
			request, reply, seen = m, new(coltrace.ExportTraceServiceResponse), func() { c.sawTraces(r.Header, m) }
		case strings.HasSuffix(r.URL.Path, "/v1/metrics"):
			m := new(colmetrics.ExportMetricsServiceRequest)
			request, reply, seen = m, new(colmetrics.ExportMetricsServiceResponse), func() { c.sawMetrics(r.Header, m) }
		case strings.HasSuffix(r.URL.Path, "/v1/logs"):
			m := new(collogs.ExportLogsServiceRequest)
			request, reply, seen = m, new(collogs.ExportLogsServiceResponse), func() { c.sawLogs(r.Header, m) }
		default:
			http.NotFound(w, r)
			return
		}
		body, err := readAll(r)
		if err == nil {
			err = proto.Unmarshal(body, request)
		}
		if err != nil {
			t.Errorf("collector: %v", err)
			http.Error(w, "bad", http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		c.paths = append(c.paths, r.URL.Path)
		c.mu.Unlock()
		seen()
		out, _ := proto.Marshal(reply)
		w.Header().Set("Content-Type", "application/x-protobuf")
		w.Write(out)
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	c.ca = caFile(t, server)
	return c
}

func readAll(r *http.Request) ([]byte, error) {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return io.ReadAll(r.Body)
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// caFile writes the certificate of a test server where a ca setting can point.
func caFile(t *testing.T, server *httptest.Server) string {
	path := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(path, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func overGRPC(t *testing.T) *collector {
	c := &collector{protocol: "grpc"}
	donor := httptest.NewUnstartedServer(nil) // for its certificate
	donor.StartTLS()
	donor.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&donor.TLS.Certificates[0])))
	coltrace.RegisterTraceServiceServer(server, c)
	colmetrics.RegisterMetricsServiceServer(server, metricsService{c: c})
	collogs.RegisterLogsServiceServer(server, logsService{c: c})
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	c.url = "https://" + listener.Addr().String()
	c.ca = caFile(t, donor)
	return c
}

func (c *collector) Export(ctx context.Context, r *coltrace.ExportTraceServiceRequest) (*coltrace.ExportTraceServiceResponse, error) {
	c.sawTraces(incoming(ctx), r)
	return new(coltrace.ExportTraceServiceResponse), nil
}

type metricsService struct {
	colmetrics.UnimplementedMetricsServiceServer
	c *collector
}

func (s metricsService) Export(ctx context.Context, r *colmetrics.ExportMetricsServiceRequest) (*colmetrics.ExportMetricsServiceResponse, error) {
	s.c.sawMetrics(incoming(ctx), r)
	return new(colmetrics.ExportMetricsServiceResponse), nil
}

type logsService struct {
	collogs.UnimplementedLogsServiceServer
	c *collector
}

func (s logsService) Export(ctx context.Context, r *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	s.c.sawLogs(incoming(ctx), r)
	return new(collogs.ExportLogsServiceResponse), nil
}

// incoming is the metadata of a call in the form of headers.
func incoming(ctx context.Context) http.Header {
	md, _ := metadata.FromIncomingContext(ctx)
	h := make(http.Header)
	for name, values := range md {
		h[http.CanonicalHeaderKey(name)] = values
	}
	return h
}

// output is a log that can be read while it is written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// lines are the log's lines, each of which must be JSON.
func (o *output) lines(t *testing.T) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for line := range strings.Lines(o.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("not a line of JSON: %s", line)
		}
		lines = append(lines, m)
	}
	return lines
}

// start starts telemetry with its log in memory.
func start(t *testing.T, s telemetry.Setup) (*telemetry.Telemetry, *output) {
	t.Helper()
	log := new(output)
	s.Stderr = log
	tel, err := telemetry.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		tel.Shutdown(ctx)
	})
	return tel, log
}

func secret(value string) func() string { return func() string { return value } }
