package clients_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// bulk is a big message.
const bulk = 24 << 20

// interopLog takes what grpc-go logs. Its interoperability cases end the process
// when they fail; here they end the test.
type interopLog struct{ grpclog.LoggerV2 }

type interopFailure string

func (interopLog) Fatal(args ...any)   { panic(interopFailure(fmt.Sprint(args...))) }
func (interopLog) Fatalln(args ...any) { panic(interopFailure(fmt.Sprintln(args...))) }
func (interopLog) Fatalf(format string, args ...any) {
	panic(interopFailure(fmt.Sprintf(format, args...)))
}

// bearer is a caller's token on every call.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if b == "" {
		return nil, nil
	}
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return true }

const grpcRoute = `{name: %s, match: [%s/grpc.testing.TestService/, %[2]s/grpc.testing.UnimplementedService/], upstream: "%s", secret: prod/team-dev/GRPC_KEY, inject: bearer, max_body: %s, upstream_tls: {ca: "%s"}}`

// call dials the gateway as a caller of a service; host is the name of it that
// the caller uses, if not its address.
func (w *world) call(t *testing.T, g gateway, host, token string) *grpc.ClientConn {
	t.Helper()
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(w.trust.Clone())), grpc.WithPerRPCCredentials(bearer(token)),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(2*bulk), grpc.MaxCallSendMsgSize(2*bulk)),
	}
	if host != "" {
		options = append(options, grpc.WithAuthority(host))
	}
	conn, err := grpc.NewClient(g.Listen, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	w := open(t)
	s := w.service("Bearer " + w.secret("GRPC_KEY"))
	dead := "https://" + w.listen(func(l net.Listener) error { return l.Close() })
	g := w.serveOn("tls", // gRPC is HTTP/2, which the gateway speaks over TLS only
		fmt.Sprintf(grpcRoute, "service", "", s.url, "1GiB", s.ca),
		fmt.Sprintf(grpcRoute, "small", "small.gw.test", s.url, "1MiB", s.ca),
		fmt.Sprintf(grpcRoute, "untrusted", "untrusted.gw.test", s.url, "1MiB", w.ca),
		fmt.Sprintf(grpcRoute, "dead", "dead.gw.test", dead, "1MiB", s.ca))
	conn := w.call(t, g, "", w.token("alice"))
	client := testgrpc.NewTestServiceClient(conn)

	for name, run := range map[string]func(context.Context){
		"empty unary":                 func(ctx context.Context) { interop.DoEmptyUnaryCall(ctx, client) },
		"large unary":                 func(ctx context.Context) { interop.DoLargeUnaryCall(ctx, client) },
		"client streaming":            func(ctx context.Context) { interop.DoClientStreaming(ctx, client) },
		"server streaming":            func(ctx context.Context) { interop.DoServerStreaming(ctx, client) },
		"ping pong":                   func(ctx context.Context) { interop.DoPingPong(ctx, client) },
		"empty stream":                func(ctx context.Context) { interop.DoEmptyStream(ctx, client) },
		"timeout on sleeping server":  func(ctx context.Context) { interop.DoTimeoutOnSleepingServer(ctx, client) },
		"cancel after begin":          func(ctx context.Context) { interop.DoCancelAfterBegin(ctx, client) },
		"cancel after first response": func(ctx context.Context) { interop.DoCancelAfterFirstResponse(ctx, client) },
		"custom metadata":             func(ctx context.Context) { interop.DoCustomMetadata(ctx, client) },
		"status code and message":     func(ctx context.Context) { interop.DoStatusCodeAndMessage(ctx, client) },
		"special status message":      func(ctx context.Context) { interop.DoSpecialStatusMessage(ctx, client) },
		"unimplemented method":        func(ctx context.Context) { interop.DoUnimplementedMethod(ctx, conn) },
		"unimplemented service": func(ctx context.Context) {
			interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(conn))
		},
	} {
		t.Run("interop/"+name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			defer func() {
				if failure, ok := recover().(interopFailure); ok {
					t.Error(failure)
				}
			}()
			run(ctx)
		})
	}
	t.Run("errors in detail", func(t *testing.T) { inDetails(t, client) })
	t.Run("deadlines", func(t *testing.T) { deadlines(t, s, client) })
	t.Run("given up", func(t *testing.T) { givenUp(t, s, client) })
	t.Run("one by one", func(t *testing.T) { oneByOne(t, client) })
	t.Run("big messages", func(t *testing.T) { bigMessages(t, client) })
	t.Run("refused", func(t *testing.T) { grpcRefusals(t, w, g, s) })
}

func inDetails(t *testing.T, client testgrpc.TestServiceClient) {
	_, err := client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{ResponseStatus: &testgrpc.EchoStatus{Code: int32(codes.FailedPrecondition), Message: inDetail}})
	got, _ := status.FromError(err)
	if got.Code() != codes.FailedPrecondition || got.Message() != inDetail || len(got.Details()) != 1 {
		t.Fatalf("%v with %d details", err, len(got.Details()))
	}
	if payload, ok := got.Details()[0].(*testgrpc.Payload); !ok || !bytes.Equal(payload.Body, pattern[:1000]) {
		t.Errorf("the detail is %v", got.Details()[0])
	}
}

// deadlines are known to the service when the caller has them.
func deadlines(t *testing.T, s *service, client testgrpc.TestServiceClient) {
	select { // of the interoperability cases
	case <-s.deadlines:
	default:
	}
	if _, err := client.EmptyCall(t.Context(), &testgrpc.Empty{}); err != nil || <-s.deadlines {
		t.Errorf("without a deadline: %v, or the service saw one", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := client.EmptyCall(ctx, &testgrpc.Empty{}); err != nil || !<-s.deadlines {
		t.Errorf("with a deadline: %v, or the service saw none", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	stream, err := client.HalfDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil { // one response, and then no more
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("beyond its deadline: %v", err)
	}
	<-s.gone
}

// givenUp says that a service learns of a caller who is gone.
func givenUp(t *testing.T, s *service, client testgrpc.TestServiceClient) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := client.HalfDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-s.gone; err != context.Canceled {
		t.Errorf("the service's call ended with %v", err)
	}
}

// oneByOne has a request wait for the response to the one before.
func oneByOne(t *testing.T, client testgrpc.TestServiceClient) {
	stream, err := client.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for size := range int32(200) {
		ask := &testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{{Size: size}}}
		if err := stream.Send(ask); err != nil {
			t.Fatal(err)
		}
		if got, err := stream.Recv(); err != nil || len(got.GetPayload().GetBody()) != int(size) {
			t.Fatalf("response %d has %d bytes, %v", size, len(got.GetPayload().GetBody()), err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// bigMessages go both ways at once, and many of them up.
func bigMessages(t *testing.T, client testgrpc.TestServiceClient) {
	payload := &testgrpc.Payload{Body: make([]byte, bulk)}
	got, err := client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{ResponseSize: bulk, Payload: payload})
	if err != nil || len(got.GetPayload().GetBody()) != bulk {
		t.Fatalf("%d bytes, %v", len(got.GetPayload().GetBody()), err)
	}
	stream, err := client.StreamingInputCall(t.Context())
	for range 3 {
		if err == nil {
			err = stream.Send(&testgrpc.StreamingInputCallRequest{Payload: payload})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if sum, err := stream.CloseAndRecv(); err != nil || sum.AggregatedPayloadSize != 3*bulk {
		t.Errorf("the service received %d bytes, %v", sum.GetAggregatedPayloadSize(), err)
	}
}

// grpcRefusals are what grpc-go makes of the gateway's answers.
func grpcRefusals(t *testing.T, w *world, g gateway, s *service) {
	before := s.uses()
	for _, refused := range []struct {
		host, who string
		size      int
		want      codes.Code
		told      string
	}{
		{who: "agent-2", want: codes.PermissionDenied, told: "denied"},
		{who: "expired:agent-1", want: codes.Unauthenticated, told: "token-expired"},
		{want: codes.Unauthenticated, told: "no-credentials"},
		{host: "dead.gw.test", who: "agent-1", want: codes.Unavailable, told: "upstream-unreachable"},
		{host: "untrusted.gw.test", who: "agent-1", want: codes.Unavailable, told: "upstream-tls"},
		{host: "elsewhere.gw.test", who: "agent-1", want: codes.Unknown, told: "misdirected"}, // gRPC has no code for 421
	} {
		token := ""
		if refused.who != "" {
			token = w.token(refused.who)
		}
		client := testgrpc.NewTestServiceClient(w.call(t, g, refused.host, token))
		_, err := client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{})
		if status.Code(err) != refused.want || !strings.Contains(fmt.Sprint(err), refused.told) {
			t.Errorf("%s: %v, want %v", refused.told, err, refused.want)
		}
	}
	if err := w.call(t, g, "", w.token("agent-1")).Invoke(t.Context(), "/another.Service/Call", &testgrpc.Empty{}, &testgrpc.Empty{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a service without a route: %v", err)
	}
	if got := s.uses(); got != before {
		t.Errorf("%d refused calls reached the service", got-before)
	}
	// More than max_body ends the call, whatever of it was sent by then; gRPC has
	// no code for 413 either.
	client := testgrpc.NewTestServiceClient(w.call(t, g, "small.gw.test", w.token("agent-1")))
	_, err := client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{Payload: &testgrpc.Payload{Body: make([]byte, 2<<20)}})
	if status.Code(err) != codes.Unknown || !strings.Contains(fmt.Sprint(err), "body-too-large") {
		t.Errorf("a message beyond max_body: %v", err)
	}
}
