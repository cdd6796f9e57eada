package telemetry_test

import (
	"context"
	"net"
	"strings"
	"testing"

	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"

	"github.com/vaultspan/vaultspan/telemetry"
)

// answer is a trace service that answers what it is told to.
type answer struct {
	coltrace.UnimplementedTraceServiceServer
	reply *coltrace.ExportTraceServiceResponse
	err   error
}

func (a answer) Export(context.Context, *coltrace.ExportTraceServiceRequest) (*coltrace.ExportTraceServiceResponse, error) {
	return a.reply, a.err
}

func TestABadCollectorOverGRPCCostsALineAndACounter(t *testing.T) {
	part := func(message string) *coltrace.ExportTraceServiceResponse {
		return &coltrace.ExportTraceServiceResponse{PartialSuccess: &coltrace.ExportTracePartialSuccess{RejectedSpans: 2, ErrorMessage: message}}
	}
	for _, c := range []struct {
		id, name string
		answer
		dropped string // of three spans
		reason  string
	}{
		{"FT01", "refuses", answer{err: status.Error(codes.Unauthenticated, "you sent "+canary)}, "3", "gRPC status Unauthenticated"},
		{"FT03", "is exhausted", answer{err: status.Error(codes.ResourceExhausted, canary)}, "3", "gRPC status ResourceExhausted"},
		{"FT03", "rejects a part", answer{reply: part(canary)}, "2", "the collector rejected a part"},
		{"FT04 M17", "answers too much", answer{reply: part(strings.Repeat("a", 1<<20))}, "3", "gRPC status ResourceExhausted"},
	} {
		t.Run(c.id+" "+c.name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := grpc.NewServer()
			coltrace.RegisterTraceServiceServer(server, c.answer)
			go server.Serve(listener)
			defer server.Stop()
			log, dropped := send(t, telemetry.OTLP{Endpoint: "http://" + listener.Addr().String()}, 3)
			if lines := log.lines(t); len(lines) != 1 || lines[0]["reason"] != c.reason {
				t.Errorf("log %s", log)
			}
			if dropped != c.dropped {
				t.Errorf("dropped %s, want %s", dropped, c.dropped)
			}
		})
	}
}
