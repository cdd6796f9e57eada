package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/proxy"
)

// A route names secrets of one vault, however many: so no request holds leases of
// two, and no connection of a route's pool carries credentials of two.
func TestSecretsOfARouteAreOfOneVault(t *testing.T) {
	for _, c := range []struct {
		secrets []string
		want    []string
	}{
		{nil, nil},
		{[]string{"prod/a/KEY"}, nil},
		{[]string{"prod/a/KEY", "prod/b/KEY", "prod/a/OTHER"}, nil},
		{[]string{"prod/a/KEY", "not a reference", "staging/a/KEY", "prod/b/KEY", "test/a/KEY"}, []string{
			"secrets[2]: the secrets of a route are of one vault, and the first is of prod: make a route for each",
			"secrets[4]: the secrets of a route are of one vault, and the first is of prod: make a route for each",
		}},
	} {
		var got []string
		proxy.Route{Secrets: c.secrets}.Check(func(path, problem string) {
			if strings.Contains(problem, "of one vault") {
				got = append(got, path+": "+problem)
			}
		})
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.secrets, got, c.want)
		}
	}
}
