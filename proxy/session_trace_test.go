package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/authn/session"
)

// F19: a trace says which session a request came with, as operators name it, and
// holds nothing that lets anybody in.
func TestATraceNamesTheSessionByItsKeyedHash(t *testing.T) {
	l := newLounge(t)
	cookie := l.login(t, "app.gw.test", "/x", "alice")
	res, body := l.do(t, "GET", "https://app.gw.test/x", "", sending("Cookie", cookie))
	if res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	listed, err := l.sessions.List(t.Context(), session.Filter{})
	if err != nil || len(listed) != 1 {
		t.Fatal(listed, err)
	}
	spans := l.spansOf(t, res.Header.Get("X-Request-Id"))
	said := map[string]string{}
	for _, kv := range spans["authenticate"].Attributes {
		said[string(kv.Key)] = kv.Value.String()
	}
	if said["vaultspan.session"] != listed[0].ID || said["vaultspan.identity.method"] != "session" {
		t.Errorf("the authenticate span says %v", said)
	}
	_, secret, _ := strings.Cut(cookie, "=")
	for name, s := range spans {
		if strings.Contains(fmt.Sprint(s.Attributes, s.Events, s.Status), secret) {
			t.Errorf("the session's id is on the span %s", name)
		}
	}
}
