package bitwarden

import (
	"encoding/base64"
	"errors"
	"strings"
)

// CheckToken reports whether text has the shape of a machine account's access
// token, 0.<client id>.<client secret>:<key>, without asking anyone. Its errors
// never quote the text.
func CheckToken(text string) error {
	if text == "" {
		return errors.New("the access token is empty")
	}
	if strings.TrimSpace(text) != text {
		return errors.New("the access token has white space around it")
	}
	login, seed, ok := strings.Cut(text, ":")
	if !ok {
		return errors.New("the access token has no colon: it was cut off, or is not a machine account's (want 0.ID.SECRET:KEY)")
	}
	parts := strings.Split(login, ".")
	if len(parts) != 3 || parts[0] != "0" {
		return errors.New("the access token is not a machine account's, which begins with 0. and a UUID (want 0.ID.SECRET:KEY)")
	}
	if !isUUID(parts[1]) {
		return errors.New("the access token's client id is not a UUID")
	}
	// Letters and digits, as Bitwarden makes them: nothing that could be read
	// differently on its way through JSON, C and a form.
	if parts[2] == "" || strings.ContainsFunc(parts[2], func(r rune) bool { return !isAlphanumeric(r) }) {
		return errors.New("the access token's secret is empty or has characters that Bitwarden does not use")
	}
	if key, err := base64.StdEncoding.Strict().DecodeString(seed); err != nil || len(key) != 16 {
		return errors.New("the access token's key, behind the colon, is not 16 bytes of base64: it was cut off")
	}
	return nil
}

func isAlphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// isUUID reports whether s is a UUID in its usual form.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, r := range s {
		switch dash := i == 8 || i == 13 || i == 18 || i == 23; {
		case dash && r != '-':
			return false
		case !dash && !(r >= '0' && r <= '9' || r >= 'a' && r <= 'f' || r >= 'A' && r <= 'F'):
			return false
		}
	}
	return true
}
