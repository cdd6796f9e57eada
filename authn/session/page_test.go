package session_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/session"
)

// A page says to a person what a refusal means for them: as whom they are not let
// in and how to ask, or that another site asked, and then nothing about either.
// What others chose is text, and no more (E10).
func TestPageOfARefusal(t *testing.T) {
	g := newGateway(t, newProvider(t, &clock{}), options{config: session.Config{Theme: session.Theme{Help: "Ask in #access."}}})
	for name, c := range map[string]struct {
		notice  authn.Notice
		has     []string
		hasNone []string
	}{
		"denied": {
			authn.Notice{Status: 403, Code: "denied", Title: "policy does not allow this request", Reason: "not <b>you</b>", Who: `"><script>`, Trace: "4bf92f"},
			[]string{"<h1>You have no access to this</h1>", "not &lt;b&gt;you&lt;/b&gt;", "You are signed in as &#34;&gt;&lt;script&gt;.", "Ask in #access.", "4bf92f", `href="/.vaultspan/logout"`},
			[]string{"<script", "<b>"},
		},
		"another site asked": {
			authn.Notice{Status: 403, Code: "origin-denied", Title: "this web origin may not do that here", Who: "alice@example.com", Trace: "4bf92f"},
			[]string{"<h1>Nothing was done</h1>", "Another site had your browser send this.", "4bf92f"},
			[]string{"alice", "Ask in", "logout"},
		},
		"not signed in": {
			authn.Notice{Status: 401, Code: "no-credentials", Title: "no credentials", SignIn: "/.vaultspan/login?max_age=60"},
			[]string{"<h1>You are not signed in</h1>", `href="/.vaultspan/login?max_age=60"`},
			[]string{"You are signed in as"},
		},
		"something broke": {
			authn.Notice{Status: 502, Code: "upstream-reset", Title: "the upstream broke off", Trace: "4bf92f"},
			[]string{"<h1>The upstream broke off</h1>", "Try again in a minute.", "4bf92f"},
			[]string{"href=\"/.vaultspan/log"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			g.Page(w, httptest.NewRequest("GET", "/page", nil), c.notice)
			text := w.Body.String()
			if w.Code != c.notice.Status {
				t.Errorf("status %d", w.Code)
			}
			for _, part := range c.has {
				if !strings.Contains(text, part) {
					t.Errorf("no %q in\n%s", part, text)
				}
			}
			for _, part := range c.hasNone {
				if strings.Contains(text, part) {
					t.Errorf("%q in\n%s", part, text)
				}
			}
		})
	}
}
