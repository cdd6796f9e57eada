// Package bitwarden reads secrets from Bitwarden Secrets Manager: it is the
// vault.Source of one machine account, on Bitwarden's own SDK.
//
// The SDK is a Rust library behind cgo. It decrypts; everything else it does is
// taken from it, because it has no deadline, follows redirects, honours proxy
// variables, puts servers' words into its errors, and ends the process in ways
// that Go cannot recover from. So it never speaks to a server: its base URL is
// a bridge in this process (bridge.go), which carries one call at a time under
// that call's context, forwards only the six requests a reader makes, over
// verified TLS, within a budget, and hands back only answers it has parsed and
// written again itself. What went wrong is judged by what the bridge saw, never
// by the SDK's words, which are dropped.
//
// What ends the process, and why it cannot happen here:
//
//   - a call after Close, a second Close, Close during a call: the type the
//     package holds has no Close (sdk.go); a client lives as long as the process;
//   - a token reply without encrypted_payload, or with another shape than the
//     SDK expects: tokenReply checks it and writes it again (reply.go);
//   - NUL or invalid UTF-8 across the C boundary: bodies that hold either are
//     refused by the bridge, and what goes in is JSON of checked ASCII strings.
//
// It trusts the machine account's key and, for which value belongs to which
// name, the server: Bitwarden authenticates each ciphertext but not its place,
// so a malicious server could answer one secret's value under another's name.
//
// The SDK reads two environment variables when it starts, so New sets them
// before the first client of the process: RUST_LOG=off, since at debug it prints
// the client secret, and 127.0.0.1 in NO_PROXY, since it would send the bridge's
// requests to a proxy.
//
// Without cgo the package compiles, and New says what is missing.
package bitwarden

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/vaultspan/vaultspan/telemetry/attr"
	"github.com/vaultspan/vaultspan/vault"
)

// Setup is what New needs. Only Config is required.
type Setup struct {
	Name    string               // the vault's name in the configuration, for spans and logs
	Config  vault.Bitwarden      // zero fields mean what vault.Bitwarden says
	Tracer  trace.TracerProvider // default: none
	Logger  *slog.Logger         // default: discard
	Budgets *Budgets             // share one among all clients of the process; default: one of its own
	Now     func() time.Time     // default: time.Now; for tests of how logins are spaced
}

// The addresses of Bitwarden's US cloud, which are the defaults.
const (
	defaultAPI      = "https://api.bitwarden.com"
	defaultIdentity = "https://identity.bitwarden.com"
	defaultTimeout  = 10 * time.Second
)

// plan is a Setup after checking, with every default in place.
type plan struct {
	Setup
	organization  string
	api, identity *url.URL
	transport     *http.Transport
	tracer        trace.Tracer
}

// check completes s, or says everything that is wrong with it.
func (s Setup) check() (plan, error) {
	s.Logger = cmp.Or(s.Logger, slog.New(slog.DiscardHandler)).With("vault", s.Name)
	s.Budgets = cmp.Or(s.Budgets, new(Budgets))
	s.Config.Timeout = cmp.Or(s.Config.Timeout, defaultTimeout)
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Tracer == nil {
		s.Tracer = noop.NewTracerProvider()
	}
	p := plan{Setup: s, organization: strings.ToLower(s.Config.Organization), tracer: s.Tracer.Tracer(attr.Scope)}

	var problems []error
	if !isUUID(p.organization) {
		problems = append(problems, errors.New("organization: want the organization's id, a UUID"))
	}
	if s.Config.AccessToken == nil {
		problems = append(problems, errors.New("access_token: missing"))
	} else if err := CheckToken(s.Config.AccessToken()); err != nil {
		problems = append(problems, fmt.Errorf("access_token: %w", err))
	}
	if (s.Config.API == "") != (s.Config.Identity == "") {
		// Else a self-hosted server's token would be sent to Bitwarden's cloud.
		problems = append(problems, errors.New("api and identity: set both or neither"))
	}
	var err error
	if p.api, err = base(cmp.Or(s.Config.API, defaultAPI)); err != nil {
		problems = append(problems, fmt.Errorf("api: %w", err))
	}
	if p.identity, err = base(cmp.Or(s.Config.Identity, defaultIdentity)); err != nil {
		problems = append(problems, fmt.Errorf("identity: %w", err))
	}
	if p.api != nil && p.identity != nil {
		if a, i := region(p.api), region(p.identity); a != "" && i != "" && a != i {
			problems = append(problems, fmt.Errorf("api is Bitwarden's %s cloud but identity its %s cloud: a machine account lives in one", a, i))
		}
	}
	if p.transport, err = transport(s.Config.CA); err != nil {
		problems = append(problems, fmt.Errorf("ca: %w", err))
	}
	return p, errors.Join(problems...)
}

// base parses a base URL. Plain http would show the client secret to the
// network, so it is for loopback only.
func base(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(text, "/"))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("want https://host with an optional port and path")
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || ip == nil || !ip.IsLoopback()) {
		return nil, errors.New("want https; http is for a loopback address only")
	}
	return u, nil
}

// region names the Bitwarden cloud that u belongs to, or nothing when it is
// another server.
func region(u *url.URL) string {
	switch host := "." + strings.ToLower(u.Hostname()); {
	case strings.HasSuffix(host, ".bitwarden.com"):
		return "US"
	case strings.HasSuffix(host, ".bitwarden.eu"):
		return "EU"
	}
	return ""
}

// transport makes the real hop. It uses no proxy, since a proxy variable meant
// for something else must not receive a login, and no environment of any kind.
func transport(ca string) (*http.Transport, error) {
	var roots *x509.CertPool // nil: the system's
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no PEM certificate", ca)
		}
	}
	return &http.Transport{
		Proxy:                  nil,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // so that a cap on bytes caps what they unpack to
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}, nil
}
