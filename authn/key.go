package authn

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxKeys is how many keys an issuer may publish.
const maxKeys = 100

// asymmetric are the algorithms an issuer may be configured to use. There is
// none a public key could be the secret of (RFC 8725 section 2.1).
var asymmetric = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
	"ES256", "ES384", "ES512", "EdDSA",
}

// key is one public key that is fit to verify signatures.
type key struct {
	id         string
	algorithms []string // what it may verify: never more than its type allows
	public     crypto.PublicKey
	print      []byte // id, algorithms and RFC 7638 thumbprint: equal if the key is
}

func (k key) equal(other key) bool { return bytes.Equal(k.print, other.print) }

var (
	errKeySet   = errors.New("not a strict JSON Web Key Set")
	errKeyCount = errors.New("key set with more than 100 keys")
	errNoKey    = errors.New("key set without a usable key")
)

// parseKeys reads a JSON Web Key Set (RFC 7517 section 5). Keys that are not fit
// are left out; a set without any that is fit is an error, since keeping the
// last good set is better than believing an empty one.
func parseKeys(document []byte) ([]key, error) {
	set, err := namesOf("keys").object(document)
	if err != nil || set["keys"].Kind() != '[' {
		return nil, errKeySet
	}
	var raw []jsontext.Value
	if err := json.Unmarshal(set["keys"], &raw); err != nil {
		return nil, errKeySet
	}
	if len(raw) > maxKeys {
		return nil, errKeyCount
	}
	var keys []key
	for _, r := range raw {
		if k, ok := parseKey(r); ok {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errNoKey
	}
	slices.SortFunc(keys, func(a, b key) int { return bytes.Compare(a.print, b.print) })
	return slices.CompactFunc(keys, key.equal), nil
}

var keyNames = namesOf("kty", "use", "key_ops", "alg", "kid", "crv", "x", "y", "n", "e", "d", "p", "q", "k", "priv")

// parseKey reads one JSON Web Key.
func parseKey(raw []byte) (key, bool) {
	members, err := keyNames.object(raw)
	if err != nil {
		return key{}, false
	}
	// A private key that was published is everybody's key.
	if members.has("d", "p", "q", "k", "priv") {
		return key{}, false
	}
	if use, ok := members.optional("use"); !ok || cmp.Or(use, "sig") != "sig" {
		return key{}, false
	}
	if ops := members["key_ops"]; ops != nil {
		if uses, ok := list(ops, text); !ok || !slices.Contains(uses, "verify") {
			return key{}, false
		}
	}
	alg, ok := members.optional("alg")
	if !ok {
		return key{}, false
	}
	// Certificates beside a key are not how we trust it; without them, an odd one
	// costs nothing.
	maps.DeleteFunc(members, func(name string, _ jsontext.Value) bool {
		return !slices.Contains([]string{"kty", "crv", "x", "y", "n", "e", "kid"}, name)
	})
	plain, err := json.Marshal(members)
	if err != nil {
		return key{}, false
	}
	var web jose.JSONWebKey
	if err := web.UnmarshalJSON(plain); err != nil {
		return key{}, false
	}
	k := key{id: web.KeyID, algorithms: verifies(web.Key), public: web.Key}
	if alg != "" {
		k.algorithms = slices.DeleteFunc(k.algorithms, func(a string) bool { return a != alg })
	}
	print, err := web.Thumbprint(crypto.SHA256)
	if err != nil || len(k.algorithms) == 0 || len(k.id) > maxKeyID {
		return key{}, false
	}
	k.print = fmt.Appendf(nil, "%q %q %x", k.id, k.algorithms, print)
	return k, true
}

// verifies lists the algorithms of a public key; none for one that is weak, of
// a curve without an algorithm, or not a public key.
func verifies(public crypto.PublicKey) []string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		// The upper bound is about our time, not their security. An exponent of 1
		// makes every message its own signature; an even one is no RSA key.
		if bits := k.N.BitLen(); bits < 2048 || bits > 8192 || k.E < 3 || k.E%2 == 0 {
			return nil
		}
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return []string{"ES256"}
		case elliptic.P384():
			return []string{"ES384"}
		case elliptic.P521():
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	return nil
}
