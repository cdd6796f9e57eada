package vault_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

// request goes to where bind binds.
func request(t *testing.T) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "https://api.example.com/v1/charges?x=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// authorization is what an upstream would get.
func authorization(t *testing.T, l *vault.Lease) string {
	t.Helper()
	r := request(t)
	if err := l.Authorize(r); err != nil {
		t.Fatal(err)
	}
	return r.Header.Get("Authorization")
}

// Promise 3: the credential goes to its destination or nowhere.
func TestCredentialGoesOnlyToItsDestination(t *testing.T) {
	v := open(t, setup(newAccount()))
	l := lease(t, v, stripeRef)
	for _, test := range []struct {
		url, host string
		ok        bool
	}{
		{"https://api.example.com/", "", true},
		{"https://api.example.com:443/", "", true},
		{"https://API.Example.COM./", "", true},
		{"https://api.example.com/", "api.example.com:443", true},
		{"https://api.example.com/", "API.example.com", true},
		{"http://api.example.com/", "", false},
		{"http://api.example.com:443/", "", false},
		{"https://api.example.com:8443/", "", false},
		{"https://api.example.com:0/", "", false},
		{"https://api.example.com:65979/", "", false}, // 443 + 65536
		{"https://evil.example.com/", "", false},
		{"https://api.example.com.evil.com/", "", false},
		{"https://user@api.example.com/", "", false},
		{"https:api.example.com", "", false},
		{"//api.example.com/", "", false},
		{"wss://api.example.com/", "", false},
		{"https://api.example.com/", "evil.example.com", false},
		{"https://api.example.com/", "api.example.com:8443", false},
	} {
		r := request(t)
		u, err := r.URL.Parse("/")
		if err != nil {
			t.Fatal(err)
		}
		if u, err = u.Parse(test.url); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(test.url, "//") {
			u.Scheme = ""
		}
		r.URL, r.Host = u, test.host
		err = l.Authorize(r)
		if (err == nil) != test.ok {
			t.Errorf("%s with host %q: %v", test.url, test.host, err)
		}
		if err != nil && (len(r.Header) > 0 || reason(t, err) != vault.NotBound) {
			t.Errorf("%s: header %v, error %v", test.url, r.Header, err)
		}
	}
	if err := l.Authorize(&http.Request{}); err == nil {
		t.Error("a request without URL is authorised")
	}
}

func TestPreservedHostMustBeAllowed(t *testing.T) {
	s := setup(newAccount())
	s.Bindings[0].PreserveHost = true
	l := lease(t, open(t, s), stripeRef)
	r := request(t)
	r.Host = "wiki.corp.example"
	if err := l.Authorize(r); err != nil {
		t.Error(err)
	}
}

// J13: plain http is for loopback, and only when the operator says so.
func TestPlaintextIsForLoopbackOnly(t *testing.T) {
	for _, test := range []struct {
		host      string
		plaintext bool
		ok        bool
	}{
		{"127.0.0.1", true, true},
		{"::1", true, true},
		{"localhost", true, true},
		{"127.0.0.1", false, false},
		{"wiki.internal", true, false},
		{"10.0.0.1", true, false},
		{"127.0.0.1.nip.io", true, false},
		{"localhost.evil.com", true, false},
	} {
		s := setup(newAccount())
		b := bind(stripeRef)
		b.Destination = vault.Destination{Scheme: "http", Host: test.host, Port: 8080}
		b.Plaintext = test.plaintext
		s.Bindings = []vault.Binding{b}

		var problems []string
		b.Check(func(path, problem string) { problems = append(problems, path+": "+problem) })
		if (len(problems) == 0) != test.ok {
			t.Errorf("J13 http://%s, plaintext %v: %q", test.host, test.plaintext, problems)
		}
		_, err := open(t, s).Lease(t.Context(), "r", stripeRef)
		if (err == nil) != test.ok {
			t.Errorf("J13 http://%s, plaintext %v: lease %v", test.host, test.plaintext, err)
		}
	}
}

// Promise 6: the upstream gets one header, ours, whatever the caller sent.
func TestEveryAliasOfTheHeaderIsReplaced(t *testing.T) {
	s := setup(newAccount())
	s.Bindings[0].Inject = vault.Injection{Header: "x-api-key", Format: "Token {secret}"}
	l := lease(t, open(t, s), stripeRef)

	var got http.Header
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }))
	defer upstream.Close()
	r := request(t)
	r.Header = http.Header{
		"X-Api-Key": {"mine", "too"}, "x-api-key": {"mine"}, "X_API_KEY": {"mine"}, "X.Api.Key": {"mine"},
		"X-Api_key": {"mine"}, "x~api!key": {"mine"}, "X-Api-Keys": {"other"},
	}
	r.Trailer = http.Header{"X_api-Key": nil, "Grpc-Status": nil}
	if err := l.Authorize(r); err != nil {
		t.Fatal(err)
	}
	if len(r.Trailer) != 1 {
		t.Errorf("trailers: %v", r.Trailer)
	}
	out, err := http.NewRequestWithContext(t.Context(), "GET", upstream.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	out.Header = r.Header
	resp, err := http.DefaultClient.Do(out)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if values := got["X-Api-Key"]; len(values) != 1 || values[0] != "Token CANARY-stripe-1" {
		t.Errorf("upstream got %q", values)
	}
	for name, values := range got {
		if values[0] == "mine" {
			t.Errorf("upstream got the caller's %s", name)
		}
	}
	if got.Get("X-Api-Keys") != "other" {
		t.Error("a header of another name is gone")
	}
}

func TestLeaseExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := open(t, setup(newAccount()))
		l := lease(t, v, stripeRef)
		time.Sleep(time.Minute)
		if err := l.Authorize(request(t)); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Nanosecond)
		r := request(t)
		if err := l.Authorize(r); err == nil || reason(t, err) != vault.Unavailable || len(r.Header) > 0 {
			t.Errorf("a minute later: %v, %v", err, r.Header)
		}
	})
}

func TestZeroLeaseAuthorisesNothing(t *testing.T) {
	var l vault.Lease
	r := request(t)
	if err := l.Authorize(r); err == nil || len(r.Header) > 0 {
		t.Errorf("%v, %v", err, r.Header)
	}
	_, _, _, _, _ = l.Secret(), l.Version(), l.Collection(), l.Fetched(), l.Destination()
	if l.String() == "" {
		t.Error("does not print")
	}
}

// J33: a route reaches exactly the secrets that are bound to it.
func TestOnlyBoundSecretsAreLeased(t *testing.T) {
	a := newAccount()
	s := setup(a)
	s.Bindings = []vault.Binding{bind(stripeRef)}
	v := open(t, s)
	for _, ask := range [][2]string{
		{"r", wikiRef}, {"other", stripeRef}, {"", stripeRef}, {"r", ""}, {"r", "prod/payments/" + stripeID}, {"r", "prod/payments/*"},
	} {
		if _, err := v.Lease(t.Context(), ask[0], ask[1]); err == nil || reason(t, err) != vault.NotBound {
			t.Errorf("J33 route %q, secret %q: %v", ask[0], ask[1], err)
		}
	}
	if a.fetched[wikiID] != 0 {
		t.Error("J33 the value of a secret that nothing is bound to was asked for")
	}
}

func TestLeaseSaysWhatItIsOf(t *testing.T) {
	v := open(t, setup(newAccount()))
	l := lease(t, v, stripeRef)
	revised, fingerprint, _ := strings.Cut(l.Version(), "Z.")
	if _, err := time.Parse("2006-01-02T15:04:05", revised); err != nil || len(fingerprint) != 16 || fingerprint != l.Fingerprint() {
		t.Errorf("version %s, fingerprint %s: %v", l.Version(), l.Fingerprint(), err)
	}
	if l.Secret() != stripeRef || l.Name() != "STRIPE_API_KEY" || l.Collection() != "prod/payments" || l.ID() != stripeID {
		t.Errorf("%s %s %s %s", l.Secret(), l.Name(), l.Collection(), l.ID())
	}
	if got := l.Destination().String(); got != "https://api.example.com:443" {
		t.Error(got)
	}
	if !l.Fetched().IsValid() {
		t.Error("does not say which fetch brought it")
	}
}
