package authn

import (
	"net/http"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// traced is a way to an issuer on which each request is a span. Queries, forms,
// headers and bodies hold codes, tokens and secrets: nothing of them is on it.
type traced struct {
	under  http.RoundTripper
	tracer trace.Tracer
}

// RoundTrip implements http.RoundTripper.
func (t traced) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, span := t.tracer.Start(r.Context(), r.Method, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attr.HTTPRequestMethod.String(r.Method), attr.URLScheme.String(r.URL.Scheme),
		attr.ServerAddress.String(r.URL.Hostname()), attr.URLPath.String(r.URL.Path)))
	defer span.End()
	response, err := t.under.RoundTrip(r.WithContext(ctx))
	if err != nil {
		span.SetStatus(codes.Error, unreached(err).Error())
		return nil, err
	}
	span.SetAttributes(attr.HTTPResponseStatusCode.Int(response.StatusCode))
	if response.StatusCode >= http.StatusBadRequest {
		span.SetStatus(codes.Error, http.StatusText(response.StatusCode))
	}
	return response, nil
}
