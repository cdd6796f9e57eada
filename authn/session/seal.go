package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strings"
)

// keyring seals what leaves for a store or a browser. Each thing is sealed with
// a key of its own, derived from what it is and from its random id, so that no
// key ever seals more than the states of one session: a random nonce of 96 bits
// is then as good as none repeated (NIST SP 800-38D section 8.3 allows 2^32).
// Being about something else, a sealed thing cannot stand in another's place.
type keyring struct{ keys [][]byte }

// The things that are sealed.
const (
	ofSession = "vaultspan session v1"
	ofFlow    = "vaultspan login v1"
	ofRounds  = "vaultspan rounds v1"
)

var errSealed = errors.New("not sealed by any of our keys")

// derive is the key for one thing. It fails only on sizes, which are fixed.
func derive(key []byte, what string, id []byte) cipher.AEAD {
	sub, err := hkdf.Key(sha256.New, key, id, what, 32)
	if err != nil {
		panic(err)
	}
	block, err := aes.NewCipher(sub)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// seal encrypts with the first key.
func (k keyring) seal(what string, id, plain []byte) []byte {
	return derive(k.keys[0], what, id).Seal(nil, nil, plain, nil)
}

// open decrypts with whichever key sealed it.
func (k keyring) open(what string, id, sealed []byte) ([]byte, error) {
	for _, key := range k.keys {
		if plain, err := derive(key, what, id).Open(nil, nil, sealed, nil); err == nil {
			return plain, nil
		}
	}
	return nil, errSealed
}

// handle is how people and logs name a session. Nobody without the key can tell
// whose cookie it is.
func (k keyring) handle(key Key) string {
	mac := hmac.New(sha256.New, k.keys[0])
	mac.Write([]byte("vaultspan session handle v1"))
	mac.Write(key[:])
	return strings.ToLower(base32.StdEncoding.EncodeToString(mac.Sum(nil)[:10]))
}
