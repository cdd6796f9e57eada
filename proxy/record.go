package proxy

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/telemetry/attr"
	"github.com/vaultspan/vaultspan/vault"
)

// This file is the privacy boundary: what one package may know of another's
// values is listed here, field by field.

// policyInput is what Rego sees of the request on a route: its own, or what a
// reload has made of it. The same goes for the identity.
func (x *exchange) policyInput(identity authn.Identity, r *route) policy.Input {
	return policy.Input{
		Identity: policy.IdentityInput{
			Issuer: identity.Issuer, Subject: identity.Subject, Kind: string(identity.Kind), Email: identity.Email,
			Groups: identity.Groups, Roles: identity.Roles, Claims: identity.Claims, Actors: identity.Actors,
		},
		Route: policy.RouteInput{Name: r.Name, Secrets: r.Candidates(), Allow: r.Allow, Tags: r.Tags},
		Request: policy.RequestInput{
			Method: x.in.Method, Host: x.host, Path: x.target.path, Query: x.target.query, ClientIP: x.client,
		},
	}
}

// event is what every record of this request says.
func (x *exchange) event() audit.Event {
	e := audit.Event{
		Trace: x.trace, Method: x.method(), Host: x.host, Path: x.target.path, Client: x.client,
		Issuer: x.identity.Issuer, Subject: x.identity.Subject, Actors: x.identity.Actors,
		Role: x.decision.Role, Reason: x.decision.Reason, Revision: x.decision.Revision,
	}
	if x.route != nil {
		e.Route = x.route.Name
	}
	return e
}

// intentEvent says what is about to be sent, where, and with which version.
func (x *exchange) intentEvent(a *attempt) audit.Event {
	e := x.event()
	e.Attempt = a.id
	e.Upstream = a.destination.String()
	if l := a.lease; l != nil {
		e.Secret, e.Version, e.Fingerprint, e.Stale = l.Secret(), l.Version(), l.Fingerprint(), l.Stale()
		if e.Minted = l.Minted(); a.mints {
			e.Minted = a.id
		}
	}
	return e
}

// refusalEvent says what was refused.
func (x *exchange) refusalEvent(r *refused) audit.Event {
	e := x.event()
	e.Code, e.Status = r.Code, r.Status
	return e
}

// outcomeEvent says how an attempt ended, and where its credential came back.
func (x *exchange) outcomeEvent(a *attempt, code, detail string) audit.Event {
	e := x.intentEvent(a)
	e.Detail = detail
	e.Code, e.Status, e.Sent, e.Received, e.Duration = code, a.status, a.sent, a.received, time.Since(a.started)
	return e
}

// finish closes the root span and counts the request.
func (x *exchange) finish() {
	if x.admitted {
		x.route.inflight.Add(-1)
	}
	if x.out.unread() { // net/http reads on, to let the caller read what it was told
		_ = http.NewResponseController(x.out).SetReadDeadline(time.Now().Add(lastWords))
	}
	if x.span.IsRecording() {
		x.describe()
	}
	if m := x.meters(); m != nil {
		m.request(x)
	}
	x.span.End()
}

// describe says on the root span what was asked and how it ended.
func (x *exchange) describe() {
	name, status := x.method(), x.told()
	attrs := []attribute.KeyValue{
		attr.HTTPRequestMethod.String(name),
		attr.HTTPResponseStatusCode.Int(status),
		attr.URLScheme.String(x.settings.URL.Scheme),
		attr.ServerAddress.String(x.host),
		attr.NetworkProtocolVersion.String(strings.TrimPrefix(x.in.Proto, "HTTP/")),
	}
	if x.client != "" {
		attrs = append(attrs, attr.ClientAddress.String(x.client))
	}
	if x.route != nil {
		x.span.SetName(name + " " + x.route.Name)
		attrs = append(attrs, attr.HTTPRoute.String(x.route.pattern), attr.Route.String(x.route.Name))
	}
	if status >= 500 {
		x.span.SetStatus(codes.Error, x.out.refusal)
	}
	x.span.SetAttributes(attrs...)
}

// callersTrace is the caller's traceparent as a link. Baggage and tracestate
// are not read.
func callersTrace(r *http.Request) (trace.Link, bool) {
	values := r.Header["Traceparent"]
	if len(values) != 1 {
		return trace.Link{}, false
	}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.MapCarrier{"traceparent": values[0]})
	sc := trace.SpanContextFromContext(ctx)
	return trace.Link{SpanContext: sc}, sc.IsValid()
}

// fromAuthn translates why a token was not accepted.
func fromAuthn(err error) *refused {
	e, ok := errors.AsType[*authn.Error](err)
	if !ok {
		return tokenInvalid.from(err)
	}
	switch e.Reason {
	case authn.Malformed:
		return malformedToken.from(err)
	case authn.Expired:
		return tokenExpired.from(err)
	case authn.UnknownIssuer:
		return issuerUnknown.from(err)
	case authn.Unavailable:
		return issuerUnavailable.from(err)
	}
	return tokenInvalid.from(err)
}

// fromVault translates why no lease was to be had.
func fromVault(err error) *refused {
	e, ok := errors.AsType[*vault.LeaseError](err)
	if !ok {
		return vaultUnavailable.from(err)
	}
	switch e.Reason {
	case vault.NotBound:
		return secretNotBound.from(err)
	case vault.NoCredential:
		return noCredential.from(err)
	case vault.NoToken:
		return tokenUnavailable.from(err)
	}
	return vaultUnavailable.from(err)
}

// told is the status the caller saw; 499 stands for none.
func (x *exchange) told() int { return cmp.Or(x.out.status, clientAbort.Status) }

// method is the request's method if a route was made to take it, or if it is
// one of HTTP's own.
func (x *exchange) method() string {
	if x.route != nil && slices.Contains(x.route.Methods, x.in.Method) {
		return x.in.Method
	}
	return methodName(x.in.Method)
}

// methodName keeps what a caller made up out of span names and metrics.
func methodName(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return method
	}
	return "_OTHER"
}

// vaultOf and collectionOf take "vault/collection/name" apart.
func vaultOf(secret string) string {
	v, _, _ := strings.Cut(secret, "/")
	return v
}

func collectionOf(secret string) string {
	return secret[:max(0, strings.LastIndexByte(secret, '/'))]
}
