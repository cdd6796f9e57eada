package session

import (
	"net/url"
	"strings"

	"github.com/vaultspan/vaultspan/authn"
)

// origins are where people log in, by host: never what a request says.
func origins(public *url.URL, hosts []string) map[string]string {
	all := map[string]string{}
	for _, host := range append([]string{public.Hostname()}, hosts...) {
		at := host
		if strings.Contains(host, ":") {
			at = "[" + host + "]"
		}
		if port := public.Port(); port != "" {
			at += ":" + port
		}
		all[strings.ToLower(host)] = public.Scheme + "://" + at
	}
	return all
}

// RedirectURIs are what to register at an issuer, by purpose. alone says that
// people log in nowhere else.
func RedirectURIs(public *url.URL, hosts []string, issuer string, alone bool) (callbacks, signedOut []string) {
	all := origins(public, hosts)
	for _, host := range append([]string{public.Hostname()}, hosts...) {
		origin := all[strings.ToLower(host)]
		callbacks = append(callbacks, origin+callbackAt(issuer, alone))
		signedOut = append(signedOut, origin+signedOutPath)
	}
	return callbacks, signedOut
}

// callbackAt is where an issuer sends browsers back to. Where there are several,
// each has a path of its own, and so knows no other's: one that sends a browser on
// to another, with our state of a login at itself, would else be brought the
// code that the other gave, and could log in with it (a mix-up, RFC 9700
// section 4.4). What iss tells of that (RFC 9207) many issuers do not say.
func callbackAt(issuer string, alone bool) string {
	if alone {
		return callbackPath
	}
	return callbackPath + "/" + url.PathEscape(issuer)
}

// callbackOf is callbackAt for one of ours.
func (m *Manager) callbackOf(c *authn.Client) string {
	return callbackAt(c.Name(), len(m.clients) == 1)
}
