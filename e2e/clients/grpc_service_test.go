package clients_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// service is grpc-go's own server for interoperability tests, over TLS with an
// authority of its own, that demands the vault's credential. Its HalfDuplexCall
// waits until the call is given up.
type service struct {
	testgrpc.TestServiceServer
	url, ca    string
	credential string
	gone       chan error // why each HalfDuplexCall ended
	deadlines  chan bool  // whether each EmptyCall came with one

	mu       sync.Mutex
	served   int
	problems []string
}

func (w *world) service(credential string) *service {
	w.t.Helper()
	s := &service{
		TestServiceServer: interop.NewTestServer(), credential: credential,
		gone: make(chan error, 1), deadlines: make(chan bool, 1),
	}
	lent := httptest.NewUnstartedServer(http.NotFoundHandler()) // its listener and certificate
	lent.EnableHTTP2 = true
	lent.StartTLS()
	s.ca = w.authority(lent)
	config := lent.TLS.Clone()
	lent.Close()
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(config)), grpc.MaxRecvMsgSize(2*bulk), grpc.MaxSendMsgSize(2*bulk),
		grpc.UnaryInterceptor(func(ctx context.Context, in any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if err := s.inspect(ctx); err != nil {
				return nil, err
			}
			return next(ctx, in)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if err := s.inspect(stream.Context()); err != nil {
				return err
			}
			return next(srv, stream)
		}),
	)
	testgrpc.RegisterTestServiceServer(server, s)
	s.url = "https://" + w.listen(server.Serve)
	w.t.Cleanup(func() {
		server.Stop()
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, problem := range s.problems {
			w.t.Errorf("the service received %s", problem)
		}
	})
	return s
}

// inspect is what an upstream's does, of metadata.
func (s *service) inspect(ctx context.Context) error {
	received, _ := metadata.FromIncomingContext(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served++
	if jwt.MatchString(fmt.Sprint(received)) {
		s.problems = append(s.problems, "a token")
	}
	for _, name := range places {
		var want []string
		if name == "Authorization" {
			want = []string{s.credential}
		}
		if got := received.Get(name); !slices.Equal(got, want) {
			s.problems = append(s.problems, fmt.Sprintf("%s: %q, want %q", name, got, want))
			return status.Error(codes.Unauthenticated, "wrong credential")
		}
	}
	return nil
}

// uses is how many calls came.
func (s *service) uses() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served
}

// EmptyCall tells whether there is a deadline.
func (s *service) EmptyCall(ctx context.Context, _ *testgrpc.Empty) (*testgrpc.Empty, error) {
	_, ok := ctx.Deadline()
	select {
	case s.deadlines <- ok:
	default:
	}
	return &testgrpc.Empty{}, nil
}

// UnaryCall fails in detail, if it has to.
func (s *service) UnaryCall(ctx context.Context, in *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	if code := in.GetResponseStatus(); code.GetMessage() == inDetail {
		failure, err := status.New(codes.Code(code.Code), code.Message).WithDetails(&testgrpc.Payload{Body: pattern[:1000]})
		if err != nil {
			return nil, err
		}
		return nil, failure.Err()
	}
	return s.TestServiceServer.UnaryCall(ctx, in)
}

// inDetail is the message of an error that has details.
const inDetail = "in detail: ü and\na second line"

// HalfDuplexCall sends one response, and then waits until it is not wanted.
func (s *service) HalfDuplexCall(stream testgrpc.TestService_HalfDuplexCallServer) error {
	if err := stream.Send(&testgrpc.StreamingOutputCallResponse{}); err != nil {
		return err
	}
	<-stream.Context().Done()
	s.gone <- stream.Context().Err()
	return stream.Context().Err()
}
