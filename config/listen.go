package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/vaultspan/vaultspan/vault"
)

// maxSocket is the longest path of a Unix socket on macOS; Linux takes 107 bytes.
const maxSocket = 103

// checkListeners keeps what travels in plaintext on this machine, and keeps
// callers from writing their own address.
func (c *Config) checkListeners(report func(path, problem string)) {
	host, ok := checkAddress("listen", c.Listen, report)
	local := ok && loopback(host)
	if ok && !local && c.TLS.Cert == "" && !c.InsecurePlaintextListen {
		report("listen", "callers would send their tokens in the clear: give tls, or listen on 127.0.0.1 (insecure_plaintext_listen: true if something in front ends TLS)")
	}
	if c.URL == "" && ok && !local {
		report("url", "is missing: say how callers reach us, such as https://gw.example.com")
	}
	admin, ok := checkAddress("admin.listen", c.Admin.Listen, report)
	if ok && !loopback(admin) && !c.Admin.InsecureListen {
		report("admin.listen", "health and metrics are served in plaintext to whoever connects: listen on 127.0.0.1, or say insecure_listen: true")
	}
	if c.Listen == c.Admin.Listen && !strings.HasSuffix(c.Listen, ":0") {
		report("admin.listen", "is the address of listen: operators and callers need one each")
	}
	if len(c.Admin.Socket) > maxSocket {
		report("admin.socket", fmt.Sprintf("is longer than the %d bytes that systems take: choose a shorter path, such as /run/vaultspan/admin.sock", maxSocket))
	}
	if c.URL != "" {
		c.checkURL(report)
	}
	for i, prefix := range c.TrustedProxies {
		if prefix.IsValid() && prefix.Bits() == 0 {
			report("trusted_proxies["+strconv.Itoa(i)+"]", "trusts everyone: any caller could name itself as it likes; list the proxies' own addresses")
		}
	}
}

func (c *Config) checkURL(report func(path, problem string)) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		report("url", "is not a URL such as https://gw.example.com")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Path != "" && u.Path != "/":
		report("url", "want scheme, host and port only")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname()) && !c.InsecurePlaintextListen):
		report("url", "is not https: callers would send their tokens in the clear (http is for loopback)")
	}
}

// checkAddress wants host:port with an address, or no host for all of them.
func checkAddress(path, address string, report func(path, problem string)) (host string, ok bool) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		report(path, "is not an address: write host:port, such as 127.0.0.1:8443")
		return "", false
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		report(path, "the port is not a number up to 65535")
		return "", false
	}
	return host, true
}

// loopback says whether a host can only be reached from this machine.
func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// checkLoop refuses an upstream that is this gateway: a route to the admin
// listener would open it to callers, and one to itself would never end.
func (c *Config) checkLoop(to vault.Destination, path string, report func(path, problem string)) {
	for _, own := range []struct{ name, address string }{{"admin listener", c.Admin.Listen}, {"listener", c.Listen}} {
		host, port, err := net.SplitHostPort(own.address)
		if err != nil || port != strconv.Itoa(to.Port) {
			continue
		}
		addr, _ := netip.ParseAddr(host)
		everywhere := host == "" || addr.IsUnspecified()
		if strings.EqualFold(host, to.Host) || loopback(to.Host) && (everywhere || loopback(host)) {
			report(path, "is our own "+own.name+": a route cannot lead back into the gateway")
			return
		}
	}
	if u, err := url.Parse(c.URL); err == nil && u.Hostname() != "" && vault.DestinationOf(u).String() == to.String() {
		report(path, "is our own url: a route cannot lead back into the gateway")
	}
}
