package session

import (
	"net/url"
	"strings"
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

// RedirectURIs are what to register at the issuers, by purpose.
func RedirectURIs(public *url.URL, hosts []string) (callbacks, signedOut []string) {
	all := origins(public, hosts)
	for _, host := range append([]string{public.Hostname()}, hosts...) {
		origin := all[strings.ToLower(host)]
		callbacks = append(callbacks, origin+callbackPath)
		signedOut = append(signedOut, origin+signedOutPath)
	}
	return callbacks, signedOut
}
