package vault

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Destination is the only place a secret may go: scheme, host and port of the
// route's upstream. It is written by the operator; no request can change it.
type Destination struct {
	Scheme string // https, or http
	Host   string // a name or an address, without port or brackets
	Port   int    // 0 is the scheme's
}

// DestinationOf is the destination that u names.
func DestinationOf(u *url.URL) Destination {
	d := Destination{Scheme: u.Scheme, Host: u.Hostname()}
	if p := u.Port(); p != "" {
		port, err := strconv.Atoi(p)
		if err != nil || port <= 0 {
			port = -1 // never the scheme's default, and allows nothing
		}
		d.Port = port
	}
	return d.normal()
}

// Allows says whether a request for u goes to d and nowhere else. User
// information and opaque URLs are refused: clients read them differently.
func (d Destination) Allows(u *url.URL) bool {
	d = d.normal()
	return u != nil && u.User == nil && u.Opaque == "" && d.valid() && DestinationOf(u) == d
}

// isHost says whether a Host header names d.
func (d Destination) isHost(host string) bool {
	return d.Allows(&url.URL{Scheme: d.Scheme, Host: host})
}

// String is scheme://host:port.
func (d Destination) String() string {
	d = d.normal()
	return d.Scheme + "://" + net.JoinHostPort(d.Host, strconv.Itoa(d.Port))
}

func (d Destination) normal() Destination {
	d.Scheme = strings.ToLower(d.Scheme)
	d.Host = strings.TrimSuffix(strings.ToLower(d.Host), ".")
	if d.Port == 0 {
		switch d.Scheme {
		case "https":
			d.Port = 443
		case "http":
			d.Port = 80
		}
	}
	return d
}

// valid is of a normal d.
func (d Destination) valid() bool {
	return (d.Scheme == "https" || d.Scheme == "http") && d.Host != "" && d.Port > 0 && d.Port < 65536
}

// isLoopback trusts the name localhost as RFC 6761, section 6.3 lets it; that
// it dials a loopback address is the dialer's to check.
func isLoopback(host string) bool {
	return strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") || isLoopbackAddress(host)
}

func isLoopbackAddress(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
