package authn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/telemetry/attr"
)

const (
	fetchBudget  = 5 * time.Second // discovery and key set together
	maxDiscovery = 256 << 10
	maxKeySet    = 512 << 10
)

var errMoved = errors.New("jwks_uri moved to another host; the last good one is used, restart to accept the new one")

// provider reads one issuer's documents: OpenID Connect Discovery 1.0 and the
// key set it names. Only one fetch runs at a time.
type provider struct {
	name    string // in the configuration
	url     string // the configured issuer identifier, byte for byte
	issuer  *url.URL
	client  *http.Client
	tracer  trace.Tracer
	keysURL atomic.Pointer[url.URL] // the last good one; nil before the first
	logins  atomic.Pointer[endpoints]
}

// fetch reads both documents. Once it knows where the keys are, a discovery that
// fails or names another host is reported and the last good address serves.
func (p *provider) fetch(ctx context.Context) ([]key, error) {
	ctx, span := p.tracer.Start(ctx, attr.SpanKeys, trace.WithNewRoot(),
		trace.WithAttributes(attr.IdentityIssuer.String(p.name)))
	defer span.End()
	keys, err := p.read(ctx)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	return keys, err
}

func (p *provider) read(ctx context.Context) ([]key, error) {
	known := p.keysURL.Load()
	address, discovery := p.discover(ctx, known != nil)
	switch {
	case discovery != nil && known == nil:
		return nil, discovery
	case discovery != nil:
		address = known
	case known != nil && address.Host != known.Host && address.Host != p.issuer.Host:
		address, discovery = known, errMoved
	}
	document, err := p.get(ctx, address, maxKeySet)
	if err != nil {
		return nil, errors.Join(discovery, fmt.Errorf("fetch key set: %w", err))
	}
	keys, err := parseKeys(document)
	if err != nil {
		return nil, errors.Join(discovery, fmt.Errorf("read key set: %w", err))
	}
	p.keysURL.Store(address)
	return keys, discovery
}

// discover returns where the issuer says its keys are.
func (p *provider) discover(ctx context.Context, half bool) (*url.URL, error) {
	if half { // leave time for the keys, whose address is known
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, fetchBudget/2)
		defer cancel()
	}
	well := *p.issuer
	well.Path = strings.TrimSuffix(well.Path, "/") + "/.well-known/openid-configuration"
	document, err := p.get(ctx, &well, maxDiscovery)
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	members, err := metadata.object(document)
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	// OpenID Connect Discovery section 4.3: identical, or somebody else answers.
	if issuer, _ := members.text("issuer"); issuer != p.url {
		return nil, errors.New("discovery: issuer in the document is not the configured url")
	}
	u, err := p.endpoint(members, "jwks_uri")
	if err != nil {
		return nil, err
	}
	p.learn(members)
	return u, nil
}

// endpoint reads an address of the discovery document.
func (p *provider) endpoint(members object, name string) (*url.URL, error) {
	address, _ := members.text(name)
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("discovery: %s is not a URL", name)
	}
	// A plain key set would let anyone on the way sign tokens, and a plain token
	// endpoint would let them read our secret.
	if u.Scheme != "https" && !(u.Scheme == "http" && p.issuer.Scheme == "http" && loopback(u.Hostname())) {
		return nil, fmt.Errorf("discovery: %s is not https", name)
	}
	return u, nil
}

// get reads one JSON document. It follows no redirect, and its errors quote
// nothing that a server sent.
func (p *provider) get(ctx context.Context, u *url.URL, limit int64) (body []byte, err error) {
	return p.getAs(ctx, u, limit, "")
}

// getAs is get with an access token, if there is one.
func (p *provider) getAs(ctx context.Context, u *url.URL, limit int64, access string) (body []byte, err error) {
	ctx, span := p.tracer.Start(ctx, http.MethodGet, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attr.HTTPRequestMethod.String(http.MethodGet), attr.URLScheme.String(u.Scheme),
		attr.ServerAddress.String(u.Hostname()), attr.URLPath.String(u.Path)))
	defer func() {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, errors.New("not a URL that can be asked")
	}
	request.Header.Set("Accept", "application/json, application/jwk-set+json")
	if access != "" {
		request.Header.Set("Authorization", "Bearer "+access)
	}
	response, err := p.client.Do(request)
	if err != nil {
		return nil, unreached(err)
	}
	defer response.Body.Close()
	span.SetAttributes(attr.HTTPResponseStatusCode.Int(response.StatusCode))
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d, want 200; redirects are not followed", response.StatusCode)
	}
	kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil || (kind != "application/json" && !strings.HasSuffix(kind, "+json")) {
		return nil, errors.New("answer is not JSON by its content type")
	}
	body, err = io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, errors.New("answer broke off")
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("answer longer than %d KiB", limit>>10)
	}
	return body, nil
}

// unreached says why there was no answer, without the address and its query.
// Errors of HTTP itself quote what the server sent, so they are not told.
func unreached(err error) error {
	if failure, ok := errors.AsType[*url.Error](err); ok {
		err = failure.Err
	}
	_, network := errors.AsType[net.Error](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	if network || certificate || record {
		return err
	}
	return errors.New("no answer in HTTP")
}
