package devidp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// keyring holds the signing keys, the newest first: the newest signs, all are
// published. Keys are named 1, 2, 3… by every provider alike, so a verifier that
// mixes up two issuers' keys is found out.
type keyring struct {
	algorithm jose.SignatureAlgorithm

	mu   sync.Mutex
	made int
	keys []*signingKey
}

// Rotate makes a new key, signs with it from now on, and returns its key id. Old
// keys stay published until ForgetOldKeys.
func (r *keyring) Rotate() (string, error) {
	private, err := generate(r.algorithm)
	if err != nil {
		return "", fmt.Errorf("making a signing key: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made++
	k := &signingKey{id: strconv.Itoa(r.made), algorithm: r.algorithm, private: private}
	r.keys = slices.Insert(r.keys, 0, k)
	return k.id, nil
}

// ForgetOldKeys withdraws every key but the newest.
func (r *keyring) ForgetOldKeys() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = slices.Clone(r.keys[:1])
}

// PublicKey returns the public half of the key that signs now.
func (r *keyring) PublicKey() crypto.PublicKey { return r.current().private.Public() }

func (r *keyring) current() *signingKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys[0]
}

func (r *keyring) published() []op.Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	var public []op.Key
	for _, k := range r.keys {
		public = append(public, publicKey{k})
	}
	return public
}

func generate(alg jose.SignatureAlgorithm) (crypto.Signer, error) {
	switch alg {
	case jose.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.RS256, jose.PS256:
		return rsa.GenerateKey(rand.Reader, 2048)
	case jose.EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	}
	return nil, fmt.Errorf("algorithm %q is none of ES256, RS256, PS256, EdDSA", alg)
}

// signingKey is an op.SigningKey.
type signingKey struct {
	id        string
	algorithm jose.SignatureAlgorithm
	private   crypto.Signer
}

func (k *signingKey) ID() string                                  { return k.id }
func (k *signingKey) Key() any                                    { return k.private }
func (k *signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return k.algorithm }

// publicKey is an op.Key: what the key set publishes.
type publicKey struct{ *signingKey }

func (k publicKey) Key() any                           { return k.private.Public() }
func (k publicKey) Algorithm() jose.SignatureAlgorithm { return k.algorithm }
func (k publicKey) Use() string                        { return "sig" }
