package proxy

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

// Where an upstream's name may lead (attack K04): nowhere private unless the
// route says so.
func TestWhereAnUpstreamMayBe(t *testing.T) {
	ten := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	public, private, loopback := &boundDialer{}, &boundDialer{private: ten}, &boundDialer{loopback: true}
	for _, c := range []struct {
		addr                      string
		public, private, loopback bool // which dialer allows it
	}{
		{"93.184.216.34", true, true, false},
		{"2606:2800:220:1::1", true, true, false},
		{"10.1.2.3", false, true, false},
		{"::ffff:10.1.2.3", false, true, false},
		{"fd12::1", false, true, false},
		{"172.16.0.1", false, false, false},
		{"192.168.1.1", false, false, false},
		{"169.254.169.254", false, false, false}, // cloud metadata
		{"fe80::1", false, false, false},
		{"fd00:ec2::254", false, true, false},
		{"100.64.0.1", false, false, false},
		{"0.0.0.0", false, false, false},
		{"0.1.2.3", false, false, false},
		{"::", false, false, false},
		{"127.0.0.1", false, false, true},
		{"127.8.8.8", false, false, true},
		{"::1", false, false, true},
		{"::ffff:127.0.0.1", false, false, true},
		{"224.0.0.1", false, false, false},
		{"255.255.255.255", false, false, false},
		{"240.0.0.1", false, false, false},
		{"64:ff9b::7f00:1", false, false, false}, // NAT64 of 127.0.0.1
		{"2002:7f00:1::", false, false, false},   // 6to4 of 127.0.0.1
		{"2001:db8::1", false, false, false},
		{"198.18.0.1", false, false, false},
	} {
		addr := netip.MustParseAddr(c.addr)
		if got := [3]bool{public.allows(addr), private.allows(addr), loopback.allows(addr)}; got != [3]bool{c.public, c.private, c.loopback} {
			t.Errorf("%s: public, private, loopback dialers allow %v, want %v", addr, got, [3]bool{c.public, c.private, c.loopback})
		}
	}
}

func TestDialerGoesNowhereElse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address := listener.Addr().String()
	if _, err := (&boundDialer{address: "127.0.0.1:1", loopback: true}).dial(t.Context(), "tcp", address); !errors.Is(err, errForbiddenAddress) {
		t.Errorf("dialed an address that is not the route's: %v", err)
	}
	// a name that resolves to loopback, on a route that did not say loopback
	_, port, _ := net.SplitHostPort(address)
	if _, err := (&boundDialer{address: "localhost:" + port}).dial(t.Context(), "tcp", "localhost:"+port); !errors.Is(err, errForbiddenAddress) {
		t.Errorf("dialed loopback without the URL saying so: %v", err)
	}
	conn, err := (&boundDialer{address: address, loopback: true}).dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
