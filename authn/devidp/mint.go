package devidp

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"

	"github.com/go-jose/go-jose/v4"
)

// Mint signs claims as they are with the current key: for tests of what a
// verifier must refuse. The header is that of an access token, with the members
// of header put over it; a nil value takes one away. Start from Claims to change
// one thing about a good token.
func (p *Provider) Mint(claims, header map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encoding claims: %w", err)
	}
	key := p.current()
	full := map[string]any{"alg": key.algorithm, "kid": key.id, "typ": "at+jwt"}
	maps.Copy(full, header)
	maps.DeleteFunc(full, func(_ string, v any) bool { return v == nil })
	h, err := json.Marshal(full)
	if err != nil {
		return "", fmt.Errorf("encoding header: %w", err)
	}
	return key.compact(h, payload)
}

// MintRaw signs a header and a payload byte for byte with the current key: for
// duplicate members, case variants and what is not JSON at all.
func (p *Provider) MintRaw(header, payload []byte) (string, error) {
	return p.current().compact(header, payload)
}

// compact is the JWS compact serialization (RFC 7515 section 7.1) of a header
// and payload that may be nonsense; the signature is always good.
func (k *signingKey) compact(header, payload []byte) (string, error) {
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64(header) + "." + b64(payload)
	signature, err := k.sign([]byte(input))
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return input + "." + b64(signature), nil
}

func (k *signingKey) sign(input []byte) ([]byte, error) {
	if k.algorithm == jose.EdDSA {
		return k.private.Sign(rand.Reader, input, crypto.Hash(0))
	}
	h := crypto.SHA256.New()
	h.Write(input)
	digest := h.Sum(nil)
	switch k.algorithm {
	case jose.PS256:
		return k.private.Sign(rand.Reader, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	case jose.ES256:
		der, err := k.private.Sign(rand.Reader, digest, crypto.SHA256)
		if err != nil {
			return nil, err
		}
		// JWS wants r and s side by side, 32 bytes each (RFC 7518 section 3.4).
		var point struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(der, &point); err != nil {
			return nil, err
		}
		var raw [64]byte
		point.R.FillBytes(raw[:32])
		point.S.FillBytes(raw[32:])
		return raw[:], nil
	}
	return k.private.Sign(rand.Reader, digest, crypto.SHA256)
}
