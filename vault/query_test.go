package vault_test

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/vault"
)

// B12 for the query: a parameter that some server would take for ours is the
// caller's word against ours, so the request is refused and left as it was.
func TestAParameterOfOurNameIsRefused(t *testing.T) {
	l, err := worn(t, "CANARY", vault.Injection{Query: "api_key"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ query, like string }{
		{"api_key=x", ""}, {"a=1&api_key=x&b=2", ""}, {"api_key", "a name alone"}, {"api_key=", ""}, {"api_key==", ""},
		{"api%5Fkey=x", "percent-encoding"}, {"%61pi_key=x", "percent-encoding"}, {"%61%70%69%5f%6b%65%79=x", "percent-encoding"},
		{"api%255Fkey=x", "decoded twice"}, {"%2561pi_key", "decoded twice"}, {"%252561pi_key", "decoded thrice"}, {"%%361pi_key", "decoded by halves"},
		{"API_KEY=x", "ASP.NET"}, {"Api_Key=x", "ASP.NET"},
		{"api_key[]=x", "PHP, Rails, qs"}, {"api_key[0]=x", "PHP, Rails, qs"}, {"api_key%5B%5D=x", "PHP"}, {"api_key%5Ba%5D[b]", "PHP"}, {"[api_key]=x", "qs"},
		{"api.key=x", "PHP"}, {"api+key=x", "PHP"}, {"api%20key=x", "PHP"}, {"api[key=x", "PHP"}, {"+api_key=x", "PHP"}, {"%20api_key=x", "PHP"},
		{"api_key%00x=x", "C"}, {"api_key%00", "C"}, {"api_key%09=x", "a parser that trims"}, {"%22api_key%22=x", "a parser that unquotes"},
		{"a=1;api_key=x", "; as separator"}, {"a;api_key", "; as separator"},
	} {
		r := request(t)
		r.URL.RawQuery = test.query
		if err := l.Authorize(r); err == nil || reason(t, err) != vault.Reserved || r.URL.RawQuery != test.query {
			t.Errorf("B12 ?%s (%s): %v, sends ?%s", test.query, test.like, err, r.URL.RawQuery)
		}
		if rest, found := (vault.Injection{Query: "api_key"}).CutQuery("z=1&" + test.query + "&&y=%20"); !found || !strings.HasPrefix(rest, "z=1&") || !strings.HasSuffix(rest, "&&y=%20") || strings.Contains(rest, "key") {
			t.Errorf("?%s is cut to ?%s", test.query, rest)
		}
	}
}

func TestOtherParametersAreLeftAsTheyAre(t *testing.T) {
	inject := vault.Injection{Query: "api_key"}
	l, err := worn(t, "CANARY", inject)
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{
		"a=api_key", "a=1&b=api_key=2", "api_keys=x", "xapi_key=x", "apikey=x", "api-key=x", "a[api_key]=x", "api_ke", "key=x", "%", "%zz", "%6", "&&", "=", "=api_key",
		"a=%61pi_key", "a=1%26api_key=2", "api%5Fkey2", "q=%2e%2E&q=+&Q;x", "?", "a?api_key=1", "ſ",
	} {
		if got, want := target(t, l, query), "/v1/charges?"+query+"&api_key=CANARY"; got != want {
			t.Errorf("?%s: the upstream reads %s, want %s", query, got, want)
		}
		if rest, found := inject.CutQuery(query); found || rest != query {
			t.Errorf("?%s is cut to ?%s", query, rest)
		}
	}
	if rest, found := vault.Bearer().CutQuery("api_key=1"); found || rest != "api_key=1" {
		t.Error("a header's injection cuts a query")
	}
}

// target is the second word of the request line that the upstream reads.
func target(t *testing.T, l *vault.Lease, query string) string {
	t.Helper()
	return strings.Fields(wire(t, l, query, nil))[1]
}

// Whatever the query, the name and the value: either the request is refused, or
// what was there is there byte for byte and our pair after it; and then net/url
// reads everything as before, and ours once.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"", "a=1", "api_key=1", "API%5Fkey[]=x", "a;b", "%", "a=1&&", "%256bey"} {
		f.Add(seed, "api_key", "CANARY")
		f.Add(seed, "key", "a b&c=%7B+#")
	}
	f.Fuzz(func(t *testing.T, raw, name, value string) {
		inject := vault.Injection{Query: name}
		inject.Check(func(string, string) { name = "" })
		if name == "" {
			return
		}
		l, err := worn(t, value, inject)
		if err != nil {
			return
		}
		r := request(t)
		r.URL.RawQuery = raw
		rest, found := inject.CutQuery(raw)
		if err := l.Authorize(r); err != nil {
			if !found || len(rest) >= len(raw) || r.URL.RawQuery != raw {
				t.Fatalf("?%q refused (%v), cut to ?%q, left as ?%q", raw, err, rest, r.URL.RawQuery)
			}
			return
		}
		got := r.URL.RawQuery
		ours, ok := strings.CutPrefix(got, raw)
		if raw != "" && ok {
			ours, ok = strings.CutPrefix(ours, "&")
		}
		if found || rest != raw || !ok || ours != name+"="+percent(value) {
			t.Fatalf("?%q became ?%q", raw, got)
		}
		before, _ := url.ParseQuery(raw)
		after, _ := url.ParseQuery(got)
		for written := range before {
			if strings.EqualFold(written, name) {
				t.Fatalf("?%q has %q, and was accepted", raw, written)
			}
		}
		before.Set(name, value)
		if !maps.EqualFunc(before, after, slices.Equal) {
			t.Fatalf("?%q reads as %q, ?%q as %q", raw, before, got, after)
		}
	})
}
