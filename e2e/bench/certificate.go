package bench

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Certificate is a server's, signed by itself.
type Certificate struct {
	PEM, Key []byte
	Pair     tls.Certificate
	Pool     *x509.CertPool // whoever has it believes the certificate
}

// NewCertificate makes one for a day, for names and IP addresses.
func NewCertificate(names ...string) (*Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	c := &Certificate{
		PEM:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		Pool: x509.NewCertPool(),
	}
	c.Pool.AppendCertsFromPEM(c.PEM)
	c.Pair, err = tls.X509KeyPair(c.PEM, c.Key)
	return c, err
}

// Write puts tls.crt and tls.key into a directory.
func (c *Certificate) Write(dir string) error {
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "tls.crt"), c.PEM, 0o600),
		os.WriteFile(filepath.Join(dir, "tls.key"), c.Key, 0o600),
	)
}
