//go:build cgo

package bitwarden

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/vaultspan/vaultspan/vault"
	"github.com/vaultspan/vaultspan/vault/bwemu"
)

// newClient makes a Client on an emulator, with a budget without end.
func newClient(t testing.TB) (*Client, *bwemu.Emulator) {
	t.Helper()
	e := bwemu.New()
	org := e.AddOrganization()
	project := org.AddProject("payments")
	org.AddSecret("KEY", "canary", "note", project)
	account := org.AddAccount("gateway", project)
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	budgets := new(Budgets)
	c, err := New(Setup{Budgets: budgets, Config: vault.Bitwarden{
		Organization: org.ID, AccessToken: account.AccessToken, API: server.URL + "/api", Identity: server.URL + "/identity"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for _, limit := range budgets.of(c.plan.api).limits {
		limit.SetLimit(rate.Inf)
	}
	return c, e
}

func TestBridgeForwardsOnlyWhatAReaderNeeds(t *testing.T) {
	c, e := newClient(t)
	org, id := "/api/organizations/"+c.plan.organization, "0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a"
	ask := func(method, path string) int {
		r, err := http.NewRequestWithContext(t.Context(), method, c.bridge.address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if body, _ := io.ReadAll(response.Body); response.StatusCode == http.StatusBadGateway && len(body) > 0 {
			t.Errorf("%s %s: a failure must not have a body", method, path)
		}
		return response.StatusCode
	}
	key := "/" + c.bridge.key()

	if got := ask("GET", key+org+"/projects"); got != http.StatusNotFound {
		t.Errorf("between calls the bridge answers %d", got)
	}
	c.bridge.current.Store(&call{ctx: t.Context()})
	for _, request := range []struct{ method, path string }{
		{"GET", org + "/projects"},
		{"GET", "/" + org + "/projects"},
		{"GET", "/wrong" + org + "/projects"},
		{"GET", key + "x" + org + "/projects"},
		{"GET", key + "/api/organizations/" + id + "/projects"},
		{"GET", key + "/api/secrets/x"},
		{"GET", key + "/api/secrets/..%2f..%2faccounts"},
		{"GET", key + "/api/organizations/" + c.plan.organization},
		{"GET", key + "/identity/connect/token"},
		{"GET", key + "/identity/.well-known/openid-configuration"},
		{"POST", key + org + "/secrets"},
		{"POST", key + org + "/projects"},
		{"PUT", key + "/api/secrets/" + id},
		{"DELETE", key + "/api/secrets/" + id},
		{"POST", key + "/api/secrets/delete"},
		{"CONNECT", key + org + "/projects"},
	} {
		if got := ask(request.method, request.path); got < 300 || got == http.StatusBadGateway {
			t.Errorf("%s %s: %d", request.method, strings.ReplaceAll(request.path, key, "/KEY"), got)
		}
	}
	for endpoint, n := range e.Stats() {
		t.Errorf("%d requests reached %s", n, endpoint)
	}
	if got := ask("GET", key+org+"/projects?lastSyncedDate=x&admin=1"); got != http.StatusBadGateway || e.Count(bwemu.Projects) != 1 {
		t.Errorf("a reader's request: %d, and %d reached the server", got, e.Count(bwemu.Projects))
	}
}

func TestPrintingAClientShowsNoKey(t *testing.T) {
	c, _ := newClient(t)
	token := c.plan.Config.AccessToken()
	// Not the running server, which changes while it is printed.
	printed := &Client{plan: c.plan, bridge: &bridge{plan: c.plan, address: c.bridge.address, key: c.bridge.key}, sdk: c.sdk}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		text := fmt.Sprintf(verb, printed) + fmt.Sprintf(verb, printed.bridge) + fmt.Sprintf(verb, c.plan.Setup)
		if strings.Contains(text, c.bridge.key()) || strings.Contains(text, token) {
			t.Errorf("%s shows a key", verb)
		}
	}
}

// FuzzSDK looks for an answer that the bridge lets through and the SDK does not
// survive: that would end this process.
func FuzzSDK(f *testing.F) {
	c, e := newClient(f)
	endpoints := []bwemu.Endpoint{bwemu.Token, bwemu.Projects, bwemu.Sync}
	for i, endpoint := range endpoints {
		f.Add(i, `{"data":[]}`)
		e.Fault(bwemu.Fault{Endpoint: endpoint, Times: 1, Edit: func(body []byte) []byte { f.Add(i, string(body)); return body }})
	}
	every := func(vault.Ref) bool { return true }
	if _, err := c.Fetch(f.Context(), time.Time{}, every); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, i int, body string) {
		if i < 0 || i >= len(endpoints) {
			return
		}
		c.session = session{}
		e.Fault(bwemu.Fault{Endpoint: endpoints[i], Edit: func([]byte) []byte { return []byte(body) }})
		snapshot, err := c.Fetch(t.Context(), time.Time{}, every)
		e.Clear()
		if failure, ok := err.(*vault.SourceError); err != nil && !ok {
			t.Errorf("%T is no SourceError", failure)
		}
		for _, secret := range snapshot.Secrets {
			if secret.Reveal() != "canary" && i != 0 {
				t.Error("a value that nobody encrypted")
			}
		}
	})
}
