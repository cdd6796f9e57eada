package telemetry

import (
	"fmt"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// sampler decides once for a trace, at its root. A span below a span of ours
// follows it. A parent from elsewhere is not asked: whoever may set a
// traceparent must not choose which of our traces are kept.
type sampler struct {
	share   float64
	request sdktrace.Sampler
}

func newSampler(share float64) sampler {
	return sampler{share: share, request: sdktrace.TraceIDRatioBased(share)}
}

// ShouldSample implements sdktrace.Sampler.
func (s sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	parent := trace.SpanContextFromContext(p.ParentContext)
	if parent.IsValid() && !parent.IsRemote() {
		if parent.IsSampled() {
			return sdktrace.AlwaysSample().ShouldSample(p)
		}
		return sdktrace.NeverSample().ShouldSample(p)
	}
	switch p.Name {
	case attr.SpanSync, attr.SpanLogin, attr.SpanKeys: // what requests link to
		return sdktrace.AlwaysSample().ShouldSample(p)
	}
	return s.request.ShouldSample(p)
}

// Description implements sdktrace.Sampler.
func (s sampler) Description() string {
	return fmt.Sprintf("vaultspan{%g of requests, every fetch}", s.share)
}
