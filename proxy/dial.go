package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// errForbiddenAddress is how a dial ends when the upstream's name leads where
// the route may not go.
var errForbiddenAddress = errors.New("forbidden address")

// boundDialer connects to one configured address and to nothing else. The name
// is resolved here, every address is checked, and a checked address is dialed,
// so that an answer of the DNS cannot change between the check and the use
// (DNS rebinding), and cannot lead to a metadata service or a neighbour.
type boundDialer struct {
	address  string         // host:port of the route's upstream
	private  []netip.Prefix // private ranges it may resolve to
	loopback bool           // the upstream's URL says loopback
}

// dial implements http.Transport.DialContext. The time that ctx leaves is
// shared by the addresses that are left, so that one that does not answer
// leaves some for the next.
func (d *boundDialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if address != d.address {
		return nil, fmt.Errorf("%w: %s is not this route's upstream", errForbiddenAddress, address)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", host, err)
	}
	for _, addr := range addrs {
		if !d.allows(addr) {
			return nil, fmt.Errorf("%w: %s resolves to %s, which the route does not allow (see private:)", errForbiddenAddress, host, addr)
		}
	}
	dialer := net.Dialer{KeepAlive: 30 * time.Second}
	var failures []error
	for i, addr := range addrs {
		if end, ok := ctx.Deadline(); ok {
			dialer.Timeout = time.Until(end) / time.Duration(len(addrs)-i)
		}
		conn, err := dialer.DialContext(ctx, network, net.JoinHostPort(addr.Unmap().String(), port))
		if err == nil {
			return conn, nil
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

// allows says whether the upstream may be at addr.
func (d *boundDialer) allows(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if addr.IsLoopback() {
		return d.loopback
	}
	if !d.loopback && isPublic(addr) {
		return true
	}
	return slices.ContainsFunc(d.private, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// special lists the ranges of the IANA special-purpose registries that
// net/netip does not know by a method and that no public service lives in.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),   // shared address space, RFC 6598
	netip.MustParsePrefix("192.0.0.0/24"),    // IETF protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relay
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarking
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, and broadcast
	netip.MustParsePrefix("64:ff9b::/96"),    // NAT64: hides an IPv4 address
	netip.MustParsePrefix("64:ff9b:1::/48"),  // local NAT64
	netip.MustParsePrefix("100::/64"),        // discard
	netip.MustParsePrefix("2001::/23"),       // IETF protocol assignments, Teredo
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("2002::/16"),       // 6to4: hides an IPv4 address
	netip.MustParsePrefix("3fff::/20"),       // documentation
	netip.MustParsePrefix("fec0::/10"),       // site-local, deprecated
}

// isPublic says whether addr is a global unicast address of the internet.
func isPublic(addr netip.Addr) bool {
	if !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return false
	}
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(addr) })
}
