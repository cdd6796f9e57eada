package devidp

import (
	"crypto/rand"
	"errors"
	"strings"
)

// tokenFormat writes access tokens and codes. The library's own JWT access
// tokens are typ JWT, which a resource server must refuse (RFC 9068 section 4),
// and offer no way to say otherwise; what it does offer is to replace the format
// of opaque tokens. So the clients ask for opaque ones, and this is the format.
type tokenFormat struct{ storage *storage }

// Encrypt is called with "id:subject" for an access token that CreateAccessToken
// announced, and with a login's id for a code.
func (f tokenFormat) Encrypt(text string) (string, error) {
	id, _, _ := strings.Cut(text, ":")
	f.storage.mu.Lock()
	g, ok := f.storage.pending[id]
	delete(f.storage.pending, id)
	f.storage.mu.Unlock()
	if !ok {
		return rand.Text(), nil // a code: SaveAuthCode remembers whose
	}
	return f.storage.provider.issue(g)
}

// Decrypt refuses, and the library then verifies the token as the JWT it is.
func (f tokenFormat) Decrypt(string) (string, error) {
	return "", errors.New("access tokens are signed, not encrypted")
}

// issue signs an access token.
func (p *Provider) issue(g grant) (string, error) { return p.Mint(p.accessClaims(g), nil) }
