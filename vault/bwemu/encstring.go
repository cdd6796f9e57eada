package bwemu

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
)

// A key is 32 bytes for AES-256-CBC and 32 bytes for HMAC-SHA256.
type key [64]byte

// newKey returns a random key.
func newKey() (k key) {
	rand.Read(k[:])
	return k
}

// seedKey derives the key of an access token from the seed behind its colon.
func seedKey(seed []byte) (k key) {
	mac := hmac.New(sha256.New, []byte("bitwarden-accesstoken"))
	mac.Write(seed)
	okm, err := hkdf.Expand(sha256.New, mac.Sum(nil), "sm-access-token", len(k))
	if err != nil {
		panic("bwemu: " + err.Error()) // 64 bytes are within what SHA-256 can expand to
	}
	return key(okm)
}

// seal returns an EncString of type 2: AES-256-CBC with PKCS #7 padding, then
// HMAC-SHA256 over IV and ciphertext.
func (k key) seal(plain []byte) string {
	block, err := aes.NewCipher(k[:32])
	if err != nil {
		panic("bwemu: " + err.Error()) // 32 bytes are an AES key
	}
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	text := slices.Grow(slices.Clone(plain), pad)
	for range pad {
		text = append(text, byte(pad))
	}
	iv := make([]byte, aes.BlockSize)
	rand.Read(iv)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(text, text)
	mac := hmac.New(sha256.New, k[32:])
	mac.Write(iv)
	mac.Write(text)
	b64 := base64.StdEncoding.EncodeToString
	return "2." + b64(iv) + "|" + b64(text) + "|" + b64(mac.Sum(nil))
}

// flip damages one bit of the ciphertext of an EncString, so that its MAC does
// not match.
func flip(encString string) string {
	b := []byte(encString)
	i := slices.Index(b, '|') + 1
	if b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return string(b)
}

// newID returns a random UUID, version 4.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return uuid(b)
}

// uuid writes 16 bytes as a UUID, version 4.
func uuid(b [16]byte) string {
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
