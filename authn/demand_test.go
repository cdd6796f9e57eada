package authn_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vaultspan/vaultspan/authn"
)

// TestProof: when and how well somebody signed in is what the issuer says in so
// many words, or not known at all (E37).
func TestProof(t *testing.T) {
	p := newIDP(t, public("k1", rsaKey()))
	a := start(t, authn.Config{Issuers: []authn.IssuerConfig{p.config("corp")}, Now: at(noon)})
	for _, c := range []struct {
		name string
		said map[string]any
		when time.Time
		acr  string
	}{
		{"both", map[string]any{"auth_time": noon.Unix() - 60, "acr": "urn:mfa"}, noon.Add(-time.Minute), "urn:mfa"},
		{"neither", nil, time.Time{}, ""},
		{"within the skew", map[string]any{"auth_time": noon.Unix() + 60}, noon.Add(time.Minute), ""},
		{"after the token", map[string]any{"auth_time": noon.Unix() + 61}, time.Time{}, ""},
		{"a text", map[string]any{"auth_time": "1782907200", "acr": 2}, time.Time{}, ""},
		{"before all time", map[string]any{"auth_time": -1, "acr": ""}, time.Time{}, ""},
		{"a list", map[string]any{"auth_time": []any{noon.Unix()}, "acr": []string{"urn:mfa"}}, time.Time{}, ""},
		{"null", map[string]any{"auth_time": map[string]any(nil), "acr": []any(nil)}, time.Time{}, ""},
		{"two in one", map[string]any{"acr": "urn:mfa urn:other"}, time.Time{}, ""},
		{"quotes", map[string]any{"acr": `urn:"mfa"`}, time.Time{}, ""},
		{"too long", map[string]any{"acr": strings.Repeat("x", 129)}, time.Time{}, ""},
	} {
		id, err := a.Bearer(t.Context(), mint(t, jose.RS256, rsaKey(), "k1", "at+jwt", p.claims(noon, c.said)))
		if err != nil || !id.AuthTime.Equal(c.when) || id.ACR != c.acr {
			t.Errorf("%s: %v %q %v, want %v %q", c.name, id.AuthTime, id.ACR, err, c.when, c.acr)
		}
	}
	for _, variant := range []string{"Auth_time", "ACR"} { // another parser would take it for the claim
		if got := reason(t, a, mint(t, jose.RS256, rsaKey(), "k1", "at+jwt", p.claims(noon, map[string]any{variant: 1}))); got != "invalid" {
			t.Errorf("%s: %s", variant, got)
		}
	}
}

// TestDemand: what is not said is not met (E37).
func TestDemand(t *testing.T) {
	minute := authn.Demand{MaxAge: 10 * time.Minute}
	strong := authn.Demand{ACR: []string{"urn:mfa", "urn:key"}}
	both := authn.Demand{MaxAge: minute.MaxAge, ACR: strong.ACR}
	ago := func(d time.Duration, acr string) authn.Identity {
		return authn.Identity{AuthTime: noon.Add(-d), ACR: acr}
	}
	for i, c := range []struct {
		demand authn.Demand
		id     authn.Identity
		met    bool
	}{
		{authn.Demand{}, authn.Identity{}, true},
		{minute, authn.Identity{}, false},
		{minute, ago(0, ""), true},
		{minute, ago(10*time.Minute, ""), true},
		{minute, ago(10*time.Minute+1, ""), false},
		{strong, authn.Identity{}, false},
		{strong, ago(time.Hour, "urn:key"), true},
		{strong, ago(0, "urn:KEY"), false},
		{strong, ago(0, "urn:pwd"), false},
		{both, ago(time.Minute, "urn:mfa"), true},
		{both, ago(time.Hour, "urn:mfa"), false},
		{both, ago(time.Minute, ""), false},
	} {
		if got := c.demand.Met(c.id, noon); got != c.met {
			t.Errorf("%d: %v", i, got)
		}
	}
	if got, ok := authn.ParseDemand(both.Parameters()); !ok || got.MaxAge != both.MaxAge || strings.Join(got.ACR, " ") != "urn:mfa urn:key" {
		t.Errorf("there and back: %+v %v", got, ok)
	}
	for query, good := range map[string]bool{
		"": true, "max_age=60": true, "max_age=900&acr_values=a+b": true, "acr_values=1": true, "other=x": true,
		"max_age=": false, "max_age=0": false, "max_age=59": false, "max_age=-900": false, "max_age=%2B900": false, "max_age=0900": false, "max_age=9e2": false,
		"max_age=900.5": false, "max_age=2592001": false, "max_age=99999999999999999999": false, "max_age=900&max_age=60": false, "acr_values=a&acr_values=b": false,
		"acr_values=": false, "acr_values=a++b": false, "acr_values=%22": false, "acr_values=%5C": false, "acr_values=a%0Ab": false, "acr_values=%C3%A4": false,
		"acr_values=a+b+c+d+e": false,
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := authn.ParseDemand(values); ok != good {
			t.Errorf("%s: %+v %v", query, d, ok)
		}
	}
}
