package bitwarden

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	anOrganization = "4f6a2a3e-7d55-4b6e-9a3d-0a1b2c3d4e5f"
	anEncString    = "2.AAAAAAAAAAAAAAAAAAAAAA==|AAAAAAAAAAAAAAAAAAAAAA==|AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	// {"exp":1,"sub":"x","organization":"4f6a…","scope":["api.secrets"]} as a JWT.
	aBearer = "e30.eyJleHAiOjEsInN1YiI6IngiLCJvcmdhbml6YXRpb24iOiI0ZjZhMmEzZS03ZDU1LTRiNmUtOWEzZC0wYTFiMmMzZDRlNWYiLCJzY29wZSI6WyJhcGkuc2VjcmV0cyJdfQ.e30"
	aToken  = `{"access_token":"` + aBearer + `","expires_in":3600,"token_type":"Bearer","scope":"api.secrets","encrypted_payload":"` + anEncString + `"}`
)

// FuzzReply holds the bridge to its word: what it lets through is text without
// NUL, and parses to the same again.
func FuzzReply(f *testing.F) {
	f.Add([]byte(aToken))
	f.Add([]byte(`{"data":[{"id":"` + anOrganization + `","organizationId":"` + anOrganization + `","key":"2.x","projects":[]}]}`))
	f.Add([]byte(`{"hasChanges":true,"secrets":{"data":[]}}`))
	f.Add([]byte("{\"hasChanges\":false,\"x\":\"\xff\"}"))
	token := func(t tokenReply) error { _, err := t.check(anOrganization); return err }
	if _, err := rewrite([]byte(aToken), token); err != nil {
		f.Fatalf("a good token reply: %v", err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		holds(t, body, token)
		holds(t, body, projectList.check)
		holds(t, body, secretList.check)
		holds(t, body, secretData.check)
		holds(t, body, syncReply.check)
		holds(t, body, secretRow.check)
	})
}

func holds[T any](t *testing.T, body []byte, check func(T) error) {
	first, err := rewrite(body, check)
	if err != nil {
		return
	}
	if !utf8.Valid(first) || bytes.IndexByte(first, 0) >= 0 || bytes.Contains(first, []byte(`\u0000`)) {
		t.Fatalf("let through: %q", first)
	}
	second, err := rewrite(first, check)
	if err != nil || !bytes.Equal(first, second) {
		t.Fatalf("%q became %q, %v", first, second, err)
	}
	if _, isToken := any(*new(T)).(tokenReply); isToken && !bytes.Contains(first, []byte(`"encrypted_payload":"2.`)) {
		t.Fatalf("a token reply without payload: %q", first)
	}
}

// FuzzCheckToken looks for a token that is accepted although it is more than
// plain text, or quoted when it is not.
func FuzzCheckToken(f *testing.F) {
	f.Add("0." + anOrganization + ".C2IgxjjLF7qSshsbwe8JGcbM075YXw:X8vbvA0bduihIDe/qrzIQQ==")
	f.Add("0.x.y:z")
	f.Fuzz(func(t *testing.T, token string) {
		err := CheckToken(token)
		switch {
		case err == nil:
			if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
				t.Errorf("accepted: %q", token)
			}
		case len(token) > 12 && strings.Contains(err.Error(), token):
			t.Errorf("quoted: %v", err)
		}
	})
}
