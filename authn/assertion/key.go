package assertion

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
)

// key is a signing key, hidden behind a func.
type key struct {
	id   string
	sign func(message string) ([]byte, error)
	jwk  jwk
}

// jwk is the public half (RFC 7518 section 6.2.1).
type jwk struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	Y         string `json:"y"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	ID        string `json:"kid"`
}

// encoded is base64url without padding, as all of JOSE has it.
func encoded(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// derive is the key of a seed for the period that begins at start, both in
// seconds. It is the same on every node and in every version: a test holds it.
func derive(seed []byte, start, length int64) (key, error) {
	// FIPS 186-5 section A.2.1: 64 bits more than the order has make the bias of
	// the remainder negligible.
	bits, err := hkdf.Key(sha256.New, seed, nil, fmt.Sprintf("vaultspan assertion key v1 %d %d", start, length), 40)
	if err != nil {
		return key{}, err
	}
	curve, one := elliptic.P256(), big.NewInt(1)
	d := new(big.Int).SetBytes(bits)
	d.Mod(d, new(big.Int).Sub(curve.Params().N, one)).Add(d, one)
	private, err := ecdsa.ParseRawPrivateKey(curve, d.FillBytes(make([]byte, 32)))
	if err != nil {
		return key{}, err
	}
	point, err := private.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return key{}, err
	}
	public := jwk{Type: "EC", Curve: "P-256", X: encoded(point[1:33]), Y: encoded(point[33:]), Use: "sig", Algorithm: algorithm}
	public.ID = public.thumbprint()
	return key{public.ID, func(message string) ([]byte, error) { return sign(private, message) }, public}, nil
}

// thumbprint names a key by what it is (RFC 7638 section 3).
func (k jwk) thumbprint() string {
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":%q,"kty":%q,"x":%q,"y":%q}`, k.Curve, k.Type, k.X, k.Y))
	return encoded(sum[:])
}

// sign is ES256 (RFC 7518 section 3.4): r and s, 32 bytes each.
func sign(private *ecdsa.PrivateKey, message string) ([]byte, error) {
	sum := sha256.Sum256([]byte(message))
	r, s, err := ecdsa.Sign(rand.Reader, private, sum[:])
	if err != nil {
		return nil, err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signature, nil
}

// ring is the keys around one moment.
type ring struct {
	period int64
	signs  key
	header string // of what it signs, encoded
	set    []byte // of all, a JWK set
}

// newRing derives the keys of a period and of those before and after it.
func newRing(seeds [][]byte, period, length int64) (*ring, error) {
	r := &ring{period: period}
	var set struct {
		Keys []jwk `json:"keys"`
	}
	for i, seed := range seeds {
		for _, n := range []int64{period, period + 1, period - 1} {
			k, err := derive(seed, n*length, length)
			if err != nil {
				return nil, err
			}
			if i == 0 && n == period {
				r.signs = k
			}
			set.Keys = append(set.Keys, k.jwk)
		}
	}
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		ID        string `json:"kid"`
		Type      string `json:"typ"`
	}{algorithm, r.signs.id, Type})
	if err != nil {
		return nil, err
	}
	r.header = encoded(header)
	r.set, err = json.Marshal(set)
	return r, err
}
