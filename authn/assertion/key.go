package assertion

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"

	"github.com/go-jose/go-jose/v4"
)

// key is a signing key, behind what it signs with, and its public half.
type key struct {
	sign   func(payload []byte) (*jose.JSONWebSignature, error)
	public jose.JSONWebKey
}

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
	public := jose.JSONWebKey{Key: &private.PublicKey, Use: "sig", Algorithm: string(algorithm)}
	sum, err := public.Thumbprint(crypto.SHA256) // it is named by what it is (RFC 7638)
	if err != nil {
		return key{}, err
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(sum)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: private, KeyID: public.KeyID}},
		new(jose.SignerOptions).WithType(Type))
	if err != nil {
		return key{}, err
	}
	return key{signer.Sign, public}, nil
}

// ring is the keys around one moment.
type ring struct {
	period int64
	signs  key
	set    []byte // of all, a JWK set
}

// newRing derives the keys of a period and of those before and after it.
func newRing(seeds [][]byte, period, length int64) (*ring, error) {
	r := &ring{period: period}
	var set jose.JSONWebKeySet
	for i, seed := range seeds {
		for _, n := range []int64{period, period + 1, period - 1} {
			k, err := derive(seed, n*length, length)
			if err != nil {
				return nil, err
			}
			if i == 0 && n == period {
				r.signs = k
			}
			set.Keys = append(set.Keys, k.public)
		}
	}
	var err error
	r.set, err = json.Marshal(set)
	return r, err
}
