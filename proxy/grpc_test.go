package proxy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

// text is a gRPC codec whose messages are *string, so that no code is generated.
type text struct{}

func (text) Marshal(v any) ([]byte, error)      { return []byte(*v.(*string)), nil }
func (text) Unmarshal(data []byte, v any) error { *v.(*string) = string(data); return nil }
func (text) Name() string                       { return "text" }

// talk is the one method of the upstream: it answers each message, and does
// what some of them ask for.
func talk(_ any, s grpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(s.Context())
	s.SetHeader(metadata.Pairs("seen", strings.Join(md["authorization"], ",")))
	s.SetTrailer(metadata.Pairs("sum", "42"))
	for {
		var in string
		switch err := s.RecvMsg(&in); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		switch in {
		case "fail":
			return status.Error(codes.FailedPrecondition, "not now: 100% sure")
		case "hang":
			<-s.Context().Done()
			return s.Context().Err()
		}
		out := "echo " + in
		if err := s.SendMsg(&out); err != nil {
			return err
		}
	}
}

// newTalk is a bench with a gRPC upstream, and a client of it through the gateway.
func newTalk(t *testing.T) (*bench, *grpc.ClientConn) {
	t.Helper()
	cert, ca := certificate(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&cert)), grpc.ForceServerCodec(text{}))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Talk", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "Talk", Handler: talk, ServerStreams: true, ClientStreams: true}},
	}, nil)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	b := newBench(t, func(_ *bench, routes []proxy.Route) []proxy.Route {
		return append(routes, proxy.Route{
			Name: "grpc", Match: []string{"example.com/"}, Upstream: "https://" + listener.Addr().String(), Methods: []string{"POST"},
			Secret: "prod/team-dev/U1_KEY", Inject: vault.Bearer(), UpstreamTLS: proxy.UpstreamTLS{CA: ca},
		})
	})
	pool := x509.NewCertPool()
	pool.AddCert(b.tls.Certificate())
	client, err := grpc.NewClient("passthrough:///example.com:443",
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: pool, ServerName: "example.com"})),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", b.tls.Listener.Addr().String())
		}),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(text{})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return b, client
}

// as is a context that carries somebody's token.
func (b *bench) as(t *testing.T, who string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+b.token(t, who))
}

func TestGRPCUnary(t *testing.T) {
	b, client := newTalk(t)
	var header, trailer metadata.MD
	for _, in := range []string{"hello", "", strings.Repeat("x", 1<<20)} {
		var out string
		if err := client.Invoke(b.as(t, "alice"), "/test.Talk/Talk", &in, &out, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil || out != "echo "+in {
			t.Fatalf("%d bytes became %d: %v", len(in), len(out), err)
		}
		if fmt.Sprint(header["seen"]) != "[Bearer "+masked1+"]" || fmt.Sprint(trailer["sum"]) != "[42]" {
			t.Errorf("header %v, trailer %v", header, trailer)
		}
	}
	in, out := "fail", ""
	err := client.Invoke(b.as(t, "alice"), "/test.Talk/Talk", &in, &out, grpc.Trailer(&trailer))
	if s := status.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != "not now: 100% sure" || fmt.Sprint(trailer["sum"]) != "[42]" {
		t.Errorf("an error became %v, trailer %v", err, trailer)
	}
}

func TestGRPCStreamsBothWays(t *testing.T) {
	b, client := newTalk(t)
	stream, err := client.NewStream(b.as(t, "alice"), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Talk/Talk")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 { // each is answered before the next is sent
		in, out := fmt.Sprint(i), ""
		if err := stream.SendMsg(&in); err != nil {
			t.Fatal(err)
		}
		if err := stream.RecvMsg(&out); err != nil || out != "echo "+in {
			t.Fatalf("message %d: %q %v", i, out, err)
		}
	}
	stream.CloseSend()
	var out string
	if err := stream.RecvMsg(&out); err != io.EOF || fmt.Sprint(stream.Trailer()["sum"]) != "[42]" {
		t.Errorf("the end is %v, trailer %v", err, stream.Trailer())
	}
	if e := outcome(t, b.records(t), "/test.Talk/Talk"); e.Code != "secret-reflected" || e.Detail != "header masked" || e.Status != 200 || e.Sent == 0 || e.Received == 0 {
		t.Errorf("recorded as %+v", e)
	}
}

func TestGRPCDeadline(t *testing.T) {
	b, client := newTalk(t)
	ctx, cancel := context.WithTimeout(b.as(t, "alice"), 10*soon)
	defer cancel()
	in, out := "hang", ""
	if err := client.Invoke(ctx, "/test.Talk/Talk", &in, &out); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("the deadline gave %v", err)
	}
	e := outcome(t, b.records(t), "/test.Talk/Talk")
	if e.Code != "client-abort" && e.Code != "completed" || e.Duration > time.Minute { // whichever end gave up first
		t.Errorf("recorded as %+v", e)
	}
}

// gRPC's own mapping of HTTP codes tells a client what a refusal means.
func TestGRPCRefusals(t *testing.T) {
	b, client := newTalk(t)
	in, out := "hello", ""
	call := func(ctx context.Context) codes.Code {
		return status.Code(client.Invoke(ctx, "/test.Talk/Talk", &in, &out))
	}
	if got := call(t.Context()); got != codes.Unauthenticated {
		t.Errorf("no token: %v", got)
	}
	if got := call(b.as(t, "mallory")); got != codes.PermissionDenied {
		t.Errorf("denied: %v", got)
	}
	b.gateway.Drain()
	if got := call(b.as(t, "alice")); got != codes.Unavailable {
		t.Errorf("draining: %v", got)
	}
}
