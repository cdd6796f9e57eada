package proxy_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

// hello is the upstream of the benchmarks.
func hello(b *testing.B) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"hello": "world"}`) }))
	b.Cleanup(s.Close)
	return s.URL
}

// hammer sends GETs over kept connections, 64 at a time.
func hammer(b *testing.B, address, host, token string) {
	transport := &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true}
	defer transport.CloseIdleConnections()
	b.SetParallelism(64)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, _ := http.NewRequest("GET", "http://"+address+"/v1/x?q=1", nil)
			r.Host = host
			r.Header.Set("Authorization", "Bearer "+token)
			res, err := transport.RoundTrip(r)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 {
				b.Errorf("%s: %v", res.Status, err)
			}
			res.Body.Close()
		}
	})
}

// BenchmarkGateway is a request with everything on: token, policy, lease,
// durable intent, outcome, spans (one trace in ten is kept) and metrics.
func BenchmarkGateway(b *testing.B) {
	up := hello(b)
	g := newBench(b, func(g *bench, routes []proxy.Route) []proxy.Route {
		g.meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
		g.tracer = sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.TraceIDRatioBased(0.1)))
		return append(routes, proxy.Route{Name: "hello", Match: []string{"hello.gw.test/"}, Upstream: up, Secret: "prod/team-dev/U1_KEY", Inject: vault.Bearer()})
	})
	hammer(b, g.plain.Listener.Addr().String(), "hello.gw.test", g.token(b, "alice"))
}

// BenchmarkReverseProxy is what a tuned httputil.ReverseProxy needs to set one header.
func BenchmarkReverseProxy(b *testing.B) {
	target, err := url.Parse(hello(b))
	if err != nil {
		b.Fatal(err)
	}
	s := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Set("Authorization", "Bearer "+canary1)
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true, DialContext: new(net.Dialer).DialContext},
	})
	defer s.Close()
	hammer(b, s.Listener.Addr().String(), "hello.gw.test", "token")
}
