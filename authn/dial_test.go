package authn

import "testing"

// TestAddresses: where a document may send us. The operator named the issuer's
// host; nobody named the others (E18).
func TestAddresses(t *testing.T) {
	const issuer, other = true, false
	for _, c := range []struct {
		name   string
		own    bool
		inside bool
		at     string
		ok     bool
	}{
		{"public issuer", issuer, false, "93.184.216.34:443", true},
		{"private issuer", issuer, false, "10.1.2.3:443", true},
		{"loopback issuer", issuer, false, "127.0.0.1:443", true},
		{"link-local issuer", issuer, false, "169.254.169.254:80", false},
		{"public keys", other, false, "[2606:2800:220:1::1]:443", true},
		{"metadata service", other, false, "169.254.169.254:80", false},
		{"metadata service, issuer inside", other, true, "169.254.169.254:80", false},
		{"metadata service in IPv6", other, true, "[fe80::1]:80", false},
		{"metadata service, mapped", other, true, "[::ffff:169.254.169.254]:80", false},
		{"unspecified", other, true, "0.0.0.0:80", false},
		{"multicast", other, true, "224.0.0.1:80", false},
		{"private keys of a public issuer", other, false, "10.1.2.3:443", false},
		{"mapped private keys of a public issuer", other, false, "[::ffff:10.1.2.3]:443", false},
		{"unique local keys of a public issuer", other, false, "[fd00::1]:443", false},
		{"carrier-grade keys of a public issuer", other, false, "100.64.0.1:443", false},
		{"loopback keys of a public issuer", other, false, "127.0.0.1:443", false},
		{"private keys of a private issuer", other, true, "10.1.2.3:443", true},
		{"not an address", other, true, "localhost:443", false},
	} {
		d := &dialer{host: "a.test"}
		d.inside.Store(c.inside)
		if err := d.check(c.own, c.at); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
