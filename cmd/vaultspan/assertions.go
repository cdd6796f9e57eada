package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/vaultspan/vaultspan/authn/assertion"
	"github.com/vaultspan/vaultspan/config"
	"github.com/vaultspan/vaultspan/proxy"
)

// signer makes what tells upstreams who is calling, or nil when no route asks for
// that.
func signer(cfg *config.Config) (*assertion.Signer, error) {
	if !slices.ContainsFunc(cfg.Routes, func(r proxy.Route) bool { return r.Assertion }) {
		return nil, nil
	}
	issuers := make(map[string]string, len(cfg.Issuers))
	for _, issuer := range cfg.Issuers {
		issuers[issuer.Name] = issuer.URL
	}
	return assertion.New(assertion.Setup{Config: cfg.Assertions, Gateway: publicURL(cfg).String(), Issuers: issuers})
}

// printVerification says what the upstreams that are told by assertion have to
// know.
func printVerification(w io.Writer, cfg *config.Config) {
	var names []string
	for _, r := range cfg.Routes {
		if r.Assertion {
			names = append(names, r.Name)
		}
	}
	if names == nil {
		return
	}
	gateway := strings.TrimSuffix(publicURL(cfg).String(), "/")
	fmt.Fprintln(w, "for upstreams to verify", assertion.Header+":")
	fmt.Fprintln(w, "  keys                     ", gateway+"/.vaultspan/jwks.json")
	fmt.Fprintln(w, "  iss                      ", gateway)
	fmt.Fprintln(w, "  aud, the route's name    ", strings.Join(names, ", "))
}
