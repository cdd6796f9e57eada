package vault_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

// identity is a certificate and its key, each in PEM.
func identity(t *testing.T, name string, from, until time.Time) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return certificate, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

func TestACertificateIsACredential(t *testing.T) {
	day := 24 * time.Hour
	certificate, key := identity(t, "CANARY", time.Now().Add(-day), time.Now().Add(day))
	another, othersKey := identity(t, "CANARY", time.Now().Add(-day), time.Now().Add(day))
	old, oldKey := identity(t, "CANARY", time.Now().Add(-2*day), time.Now().Add(-day))
	early, earlyKey := identity(t, "CANARY", time.Now().Add(day), time.Now().Add(2*day))
	object := func(fields map[string]string) string {
		text, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, test := range map[string]struct{ secret, says string }{
		"both":              {certificate + key, ""},
		"the key first":     {key + certificate, ""},
		"a chain":           {certificate + another + key, ""},
		"fields":            {object(map[string]string{"certificate": certificate + another, "key": key, "note": "x"}), ""},
		"another's key":     {certificate + othersKey, "fits"},
		"the wrong leaf":    {another + certificate + key, "fits"},
		"no key":            {certificate, "fits"},
		"no certificate":    {key, "fits"},
		"no PEM":            {"CANARY", "is not PEM"},
		"half of it":        {certificate + key[:60], "fits"},
		"expired":           {old + oldKey, "expired at"},
		"too early":         {early + earlyKey, "not valid before"},
		"a field is absent": {object(map[string]string{"certificate": certificate}), `no field "key"`},
		"not text":          {`{"certificate": 1, "key": 2}`, "not text"},
		"twice":             {`{"key": "CANARY", "key": "CANARY"}`, "twice"},
	} {
		l, err := worn(t, test.secret, vault.MTLS())
		if test.says != "" {
			if err == nil || reason(t, err) != vault.NoCredential || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "-----BEGIN C") {
				t.Errorf("%s: %v, want one that says %q", name, err, test.says)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := request(t)
		r.Header = http.Header{"Authorization": {"Bearer mine"}, "Cookie": {"a=b"}}
		if err := l.Authorize(r); err != nil || fmt.Sprint(r.Header) != "map[Authorization:[Bearer mine] Cookie:[a=b]]" {
			t.Errorf("%s: %v, and the request became %v", name, err, r.Header)
		}
		shown, err := l.ClientCertificate()(&tls.CertificateRequestInfo{})
		if err != nil || shown.Leaf.Subject.CommonName != "CANARY" || strings.Contains(fmt.Sprintf("%v %+v %#v", l, *l, l), "PRIVATE") {
			t.Errorf("%s: shows %v (%v)", name, shown.Leaf.Subject, err)
		}
	}
	if lease(t, open(t, setup(newAccount())), stripeRef).ClientCertificate() != nil || (vault.Lease{}).ClientCertificate() != nil {
		t.Error("a lease without a certificate shows one")
	}
}

// A certificate that expires while it is held is shown no longer.
func TestACertificateExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		certificate, key := identity(t, "CANARY", time.Now(), time.Now().Add(10*time.Second))
		l, err := worn(t, certificate+key, vault.MTLS())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if err := l.Authorize(request(t)); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if err := l.Authorize(request(t)); err == nil || reason(t, err) != vault.NoCredential {
			t.Errorf("after it expired: %v", err)
		}
	})
}

func TestACertificateNeedsTLS(t *testing.T) {
	b := bind(stripeRef)
	b.Inject, b.Plaintext, b.Destination = vault.MTLS(), true, vault.Destination{Scheme: "http", Host: "localhost"}
	var problems []string
	b.Check(func(path, problem string) { problems = append(problems, path+": "+problem) })
	if len(problems) != 1 || !strings.HasPrefix(problems[0], "inject: mtls needs TLS") {
		t.Errorf("problems %q", problems)
	}
}
