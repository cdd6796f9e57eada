package proxy_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// What a caller with no token, a bad one, or one that is not enough is told
// (RFC 6750 section 3). A token counts in the header alone, and nothing that is made
// up falls back to anybody: not on a path that speaks MCP either.
func TestChallenges(t *testing.T) {
	b := newBench(t)
	alice, mallory := b.token(t, "alice"), b.token(t, "mallory")
	claims := b.idp.Claims("alice")
	now := time.Now()
	claims["iat"], claims["nbf"], claims["exp"] = now.Add(-2*time.Hour).Unix(), now.Add(-2*time.Hour).Unix(), now.Add(-time.Hour).Unix()
	expired, err := b.idp.Mint(claims, nil)
	if err != nil {
		t.Fatal(err)
	}
	made := strings.Join([]string{"eyJhbGciOiJub25lIn0", "eyJzdWIiOiJhbGljZSJ9", ""}, ".") // {"alg":"none"}, {"sub":"alice"}
	for _, c := range []struct {
		id, name, path, token string
		edit                  func(*http.Request)
		status                int
		challenge             string // beside the realm; - for none at all
	}{
		{"G34", "a token in the query", "/x?access_token=" + alice, "", nil, 401, ""},
		{"G34", "a token in a form", "/x", "", func(r *http.Request) {
			*r = *sendsForm(r, "access_token="+alice)
		}, 401, ""},
		{"G38", "a token that is made up, where MCP is spoken", "/mcp", made, nil, 401, `error="invalid_token"`},
		{"G38", "an API key that is made up", "/mcp", "", sending("Authorization", "Bearer sk-anything"), 400, `error="invalid_request"`},
		{"G38", "another scheme", "/mcp", "", sending("Authorization", "Basic YWxpY2U6eA=="), 401, ""},
		{"G38", "no scheme", "/mcp", "", sending("Authorization", "alice"), 401, ""},
		{"G38", "an empty field", "/mcp", "", sending("Authorization", ""), 401, ""},
		{"G39", "nothing", "/x", "", nil, 401, ""},
		{"G40", "an expired token", "/x", expired, nil, 401, `error="invalid_token"`},
		{"G40", "a token that is not enough", "/x", mallory, nil, 403, `error="insufficient_scope"`},
		{"G40", "a token that is none", "/x", "not.a.token", nil, 400, `error="invalid_request"`},
		{"", "a token that is enough", "/x", alice, nil, 200, "-"},
	} {
		t.Run(c.id+" "+c.name, func(t *testing.T) {
			before := len(b.u1.requests())
			var edits []func(*http.Request)
			if c.edit != nil {
				edits = append(edits, c.edit)
			}
			res, body := b.do(t, "GET", "https://app.gw.test"+c.path, c.token, edits...)
			if res.StatusCode != c.status {
				t.Fatalf("%d %s, want %d", res.StatusCode, body, c.status)
			}
			if reached := len(b.u1.requests()) - before; (reached == 1) != (c.status == 200) {
				t.Errorf("%d requests reached the upstream", reached)
			}
			got := res.Header.Values("WWW-Authenticate")
			switch {
			case c.challenge == "-":
				if len(got) != 0 {
					t.Errorf("challenged by %q", got)
				}
			case len(got) != 1 || !strings.HasPrefix(got[0], "Bearer ") || !strings.Contains(got[0], c.challenge) || c.challenge == "" && strings.Contains(got[0], "error"):
				t.Errorf("challenged by %q, want Bearer with %q", got, c.challenge)
			}
		})
	}
}

// sendsForm makes a request one that sends a form.
func sendsForm(r *http.Request, form string) *http.Request {
	sent, err := http.NewRequestWithContext(r.Context(), http.MethodPost, r.URL.String(), strings.NewReader(form))
	if err != nil {
		panic(err)
	}
	sent.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return sent
}
