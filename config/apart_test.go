package config

import (
	"slices"
	"testing"
)

// A route names secrets of one vault, however many.
func TestSecretsOfARouteAreOfOneVault(t *testing.T) {
	for _, c := range []struct {
		secrets []string
		want    []string
	}{
		{nil, nil},
		{[]string{"prod/a/KEY"}, nil},
		{[]string{"prod/a/KEY", "prod/b/KEY", "prod/a/OTHER"}, nil},
		{[]string{"prod/a/KEY", "not a reference", "staging/a/KEY", "test/a/KEY"}, []string{
			"routes[0].secret: names secrets of the vaults prod and staging, which are kept apart: make a route for each",
		}},
	} {
		var got []string
		checkOneVault(c.secrets, "routes[0].secret", func(path, problem string) { got = append(got, path+": "+problem) })
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.secrets, got, c.want)
		}
	}
}
