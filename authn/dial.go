package authn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	errAddress = errors.New("resolves to an address no issuer can have")
	errInside  = errors.New("resolves to a private address, which this issuer's own host does not")

	carrierGrade = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
)

// transport is how one issuer is reached: TLS by its own authorities, no
// environment's proxy, no compression, nothing inside our network that the
// operator did not name.
func transport(issuer *url.URL, ca string) (*http.Transport, error) {
	var roots *x509.CertPool
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("read certificate authorities: %w", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read certificate authorities: no PEM certificate in %s", ca)
		}
	}
	return &http.Transport{
		DialContext:            (&dialer{host: issuer.Hostname()}).dial,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		IdleConnTimeout:        30 * time.Second,
	}, nil
}

// client follows no redirect: an answer from elsewhere is not the issuer's.
func client(over http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     over,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// dialer checks every address it is about to connect to. The operator named the
// issuer's host, so that may be private or loopback; a host that only a
// document names may be so only if the issuer's host is too. Link-local
// addresses, where clouds keep their metadata, are nobody's.
type dialer struct {
	host   string
	inside atomic.Bool // the issuer's host has a private address
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	own := strings.EqualFold(host, d.host)
	plain := net.Dialer{Control: func(_, resolved string, _ syscall.RawConn) error {
		return d.check(own, resolved)
	}}
	return plain.DialContext(ctx, network, address)
}

func (d *dialer) check(own bool, resolved string) error {
	at, err := netip.ParseAddrPort(resolved)
	if err != nil {
		return errAddress
	}
	ip := at.Addr().Unmap()
	private := ip.IsPrivate() || ip.IsLoopback() || carrierGrade.Contains(ip)
	switch {
	case !ip.IsGlobalUnicast() && !ip.IsLoopback():
		return errAddress
	case own:
		d.inside.Store(private)
	case private && !d.inside.Load():
		return errInside
	}
	return nil
}

// loopback reports whether a URL's host is this machine by its very name.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
