package vault

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// This file is for an upstream that knows its callers by their certificate
// (RFC 8446, section 4.4.2): the credential is on the connection, not on the
// request.

// wearCertificate makes a certificate and its key ready. A secret that is a JSON
// object has them in its fields certificate and key; any other is both, as PEM
// one after the other.
func wearCertificate(secret string) (worn, error) {
	chain, key := secret, secret
	c, err := open(secret)
	if err != nil {
		return worn{}, err
	}
	defer c.close()
	if c.err != errNoObject {
		if chain, err = c.value("certificate", pemText); err != nil {
			return worn{}, err
		}
		if key, err = c.value("key", pemText); err != nil {
			return worn{}, err
		}
	}
	certificate, err := pair([]byte(chain), []byte(key))
	if err != nil {
		return worn{}, err
	}
	return worn{
		put:     func(*http.Request) error { return inForce(certificate.Leaf) },
		present: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil },
	}, nil
}

// pair is a chain with the key that fits its first certificate. No error quotes
// either.
func pair(chain, key []byte) (*tls.Certificate, error) {
	for _, text := range [][]byte{chain, key} {
		if block, _ := pem.Decode(text); block == nil {
			return nil, errors.New("is not PEM: store the certificate, its chain and the key as text that begins with -----BEGIN")
		}
	}
	certificate, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, errors.New("is not a certificate with its own key: want the certificate first, then those that vouch for it, and a key in PEM without a password that fits it")
	}
	if certificate.Leaf == nil { // x509keypairleaf=0
		if certificate.Leaf, err = x509.ParseCertificate(certificate.Certificate[0]); err != nil {
			return nil, errors.New("has a certificate that cannot be read")
		}
	}
	return &certificate, inForce(certificate.Leaf)
}

// inForce says whether a certificate may be shown now. An upstream would refuse
// it otherwise; at worst after it has read the request (TLS 1.3).
func inForce(leaf *x509.Certificate) error {
	switch now := time.Now(); {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("has a certificate that expired at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("has a certificate that is not valid before %s", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// pemText is text of which the parser of PEM is the judge.
func pemText(string) error { return nil }
