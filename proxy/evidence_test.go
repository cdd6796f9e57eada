package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

// N01, promise 1: when the first byte of a request is at the upstream, its
// intent is on disk, and the credential is the version that it names.
func TestIntentIsDurableBeforeTheFirstByte(t *testing.T) {
	b := newBench(t)
	check := func(w http.ResponseWriter, r *http.Request) {
		attempt := r.Header.Get("X-Request-Id")
		if attempt == "" || !b.onDisk(t, `"kind":"intent"`, `"attempt":"`+attempt+`"`) {
			http.Error(w, "no intent on disk for "+attempt, http.StatusTeapot)
		}
	}
	b.u1.handler, b.u2.handler = check, check
	alice, carol := b.token(t, "alice"), b.token(t, "carol")
	client := b.client()
	defer client.CloseIdleConnections()
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for range 25 {
				scheme := []string{"http", "https"}[i%2]
				for _, err := range []error{
					sends(client, "GET", scheme+"://app.gw.test/x", "app.gw.test", alice, 200),
					sends(client, "POST", scheme+"://pay.gw.test/x", "pay.gw.test", carol, 200),
					sends(client, "GET", scheme+"://app.gw.test/public/x", "app.gw.test", "", 200), // without a credential too
				} {
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	callers.Wait()
	intents, outcomes := map[string]bool{}, map[string]bool{}
	for _, e := range b.records(t) {
		switch e.Kind {
		case audit.KindIntent:
			intents[e.Attempt] = true
			if outcomes[e.Attempt] {
				t.Errorf("%s ended before it began", e.Attempt)
			}
		case audit.KindOutcome:
			outcomes[e.Attempt] = true
			if e.Code != "completed" || e.Status != 200 {
				t.Errorf("recorded: %+v", e)
			}
		}
	}
	if len(intents) != 600 || len(outcomes) != 600 {
		t.Errorf("%d intents and %d outcomes for 600 attempts", len(intents), len(outcomes))
	}
}

// onDisk says whether a line with all these words is in the audit directory.
func (b *bench) onDisk(t *testing.T, words ...string) bool {
	files, _ := filepath.Glob(filepath.Join(b.auditDir, "*.jsonl"))
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
		}
	lines:
		for line := range strings.Lines(string(content)) {
			for _, word := range words {
				if !strings.Contains(line, word) {
					continue lines
				}
			}
			return true
		}
	}
	return false
}

func TestNothingIsSentThatCannotBeRecorded(t *testing.T) {
	b := newBench(t)
	if err := b.log.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"http://app.gw.test/x", "https://app.gw.test/x", "http://app.gw.test/public/x"} {
		res, body := b.do(t, "GET", url, b.token(t, "alice"))
		refused(t, res, body, 503, "audit-unavailable")
	}
	if n := len(b.u1.requests()); n != 0 {
		t.Errorf("the upstream received %d requests", n)
	}
	if !strings.Contains(b.logs.String(), "audit-unavailable") {
		t.Error("the process log does not say so")
	}
}

// failing takes the place of each part in turn.
type failing struct{ do func() error }

func (f failing) Bearer(context.Context, string) (authn.Identity, error) {
	return authn.Identity{}, f.do()
}
func (f failing) Decide(context.Context, policy.Input) (policy.Decision, error) {
	return policy.Decision{Allow: true, Role: "dev", Secret: "prod/team-dev/U1_KEY"}, f.do()
}
func (f failing) Lease(context.Context, string, string) (*vault.Lease, error) {
	return nil, f.do()
}
func (f failing) LeaseOwn(context.Context, string, string, string) (*vault.Lease, error) {
	return nil, f.do()
}
func (f failing) Renew(context.Context, *vault.Lease) (*vault.Lease, error) {
	return nil, f.do()
}

// J25 and promise 4: whatever a part of the gateway fails with, or panics with,
// is a refusal that says nothing of it, and the gateway lives.
func TestFailingPartsRefuse(t *testing.T) {
	b := newBench(t)
	good := b.settings
	authenticator := func(s *proxy.Settings, f failing) { s.Authenticator = f }
	decider := func(s *proxy.Settings, f failing) { s.Policy = f }
	lender := func(s *proxy.Settings, f failing) { s.Vaults = map[string]proxy.Vault{"prod": f} }
	nobody := func(s *proxy.Settings, f failing) { s.Vaults = nil }
	fails := func(err error) failing { return failing{func() error { return err }} }
	cause := errors.New("detail " + canary1)
	for _, c := range []struct {
		place  func(*proxy.Settings, failing)
		with   failing
		status int
		code   string
	}{
		{authenticator, fails(&authn.Error{Reason: authn.Malformed, Err: cause}), 400, "malformed-token"},
		{authenticator, fails(&authn.Error{Reason: authn.Invalid, Err: cause}), 401, "token-invalid"},
		{authenticator, fails(&authn.Error{Reason: authn.Expired, Err: cause}), 401, "token-expired"},
		{authenticator, fails(&authn.Error{Reason: authn.UnknownIssuer, Err: cause}), 401, "issuer-unknown"},
		{authenticator, fails(&authn.Error{Reason: authn.Unavailable, Err: cause}), 503, "issuer-unavailable"},
		{authenticator, fails(errors.New("anything else")), 401, "token-invalid"},
		{decider, fails(errors.New("builtin error")), 503, "policy-error"}, // I31: although it says allow
		{lender, fails(&vault.LeaseError{Reason: vault.NotBound, Err: cause}), 403, "secret-not-bound"},
		{lender, fails(&vault.LeaseError{Reason: vault.NoCredential, Err: cause}), 502, "no-credential"},
		{lender, fails(&vault.LeaseError{Reason: vault.Unavailable, Err: cause}), 503, "vault-unavailable"},
		{lender, fails(errors.New("anything else")), 503, "vault-unavailable"},
		{nobody, fails(nil), 503, "vault-unavailable"},
		{authenticator, failing{func() error { panic(canary1) }}, 500, "internal"},
		{decider, failing{func() error { panic(fmt.Errorf("error %s", canary1)) }}, 500, "internal"},
		{lender, failing{func() error { return []error{}[len(canary1)] }}, 500, "internal"},
	} {
		broken := good
		c.place(&broken, c.with)
		if err := b.gateway.Swap(broken); err != nil {
			t.Fatal(err)
		}
		res, body := b.do(t, "GET", "https://app.gw.test/x", b.token(t, "alice"))
		refused(t, res, body, c.status, c.code)
		if strings.Contains(body, "detail") || strings.Contains(body, canary1) {
			t.Errorf("%s tells the caller %s", c.code, body)
		}
		if c.status == 401 && !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), `Bearer realm="vaultspan", error="invalid_token"`) {
			t.Errorf("%s: WWW-Authenticate %q", c.code, res.Header.Get("WWW-Authenticate"))
		}
	}
	if n := len(b.u1.requests()); n != 0 {
		t.Errorf("the upstream received %d requests", n)
	}
	for line := range strings.Lines(b.logs.String()) {
		if strings.Contains(line, "panic") && strings.Contains(line, canary1) {
			t.Errorf("what a panic says was logged: %s", line)
		}
	}
	if err := b.gateway.Swap(good); err != nil {
		t.Fatal(err)
	}
	if res, body := b.do(t, "GET", "https://app.gw.test/x", b.token(t, "alice")); res.StatusCode != 200 {
		t.Errorf("afterwards: %d %s", res.StatusCode, body)
	}
}

// A gateway without settings, or without a part, serves nobody.
func TestZeroGatewayServesNobody(t *testing.T) {
	b := newBench(t)
	if err := new(proxy.Gateway).Swap(b.settings); err == nil {
		t.Error("a gateway without an audit log took settings")
	}
	settings := b.settings
	settings.Closed = map[string]error{"R1": errors.New("no such collection")}
	if err := b.gateway.Swap(settings); err != nil {
		t.Fatal(err)
	}
	res, body := b.do(t, "GET", "https://app.gw.test/x", b.token(t, "alice"))
	refused(t, res, body, 503, "route-closed")
	settings.Routes = append(settings.Routes, settings.Routes[0])
	if err := b.gateway.Swap(settings); err == nil { // promise 12
		t.Error("settings with a pattern twice were taken")
	}
	res, body = b.do(t, "POST", "https://pay.gw.test/x", b.token(t, "carol"))
	if res.StatusCode != 200 {
		t.Errorf("after settings that were not taken: %d %s", res.StatusCode, body)
	}
}

// Without tracing, records and answers still have an id each.
func TestIdsWithoutTracing(t *testing.T) {
	b := newBench(t)
	gateway := &proxy.Gateway{Audit: b.log, Tracer: noop.NewTracerProvider(), Logger: slog.New(slog.DiscardHandler), UserID: func(issuer, subject string) string { return subject }}
	if err := gateway.Swap(b.settings); err != nil {
		t.Fatal(err)
	}
	b.restart(t, proxy.NewServer(t.Context(), gateway, nil))
	ids := map[string]bool{}
	for range 3 {
		res, _ := b.do(t, "GET", "http://app.gw.test/x", b.token(t, "alice"))
		ids[res.Header.Get("X-Request-Id")] = true
	}
	gateway.Wait()
	for _, e := range b.records(t) {
		if e.Kind == audit.KindIntent && !ids[e.Trace] {
			t.Errorf("recorded: %+v", e)
		}
	}
	if len(ids) != 3 || ids[strings.Repeat("0", 32)] {
		t.Errorf("the ids are %v", ids)
	}
}

// I12: a claim cannot stand for a part of the input that is not the identity's.
func TestClaimsShadowNothing(t *testing.T) {
	b := newBench(t)
	asked := &watched{Decider: b.settings.Policy}
	b.settings.Policy = asked
	if err := b.gateway.Swap(b.settings); err != nil {
		t.Fatal(err)
	}
	claims := b.idp.Claims("alice")
	claims["request"] = map[string]any{"method": "DELETE", "host": "evil.test"}
	claims["route"] = map[string]any{"name": "R2", "secrets": []string{"prod/team-pay/U2_KEY"}}
	claims["data"] = map[string]any{"roles": map[string]any{}}
	claims["input"], claims["identity"], claims["kind"] = "x", map[string]any{"groups": []string{"pay"}}, "root"
	token, err := b.idp.Mint(claims, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res, body := b.do(t, "GET", "https://app.gw.test/x", token); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	in := asked.in
	if in.Request.Method != "GET" || in.Request.Host != "app.gw.test" || in.Route.Name != "R1" || len(in.Identity.Claims) != 0 ||
		fmt.Sprint(in.Identity.Groups) != "[dev payments]" || in.Identity.Kind != "human" || fmt.Sprint(in.Route.Secrets) != "[prod/team-dev/U1_KEY]" {
		t.Errorf("policy was asked %+v", in)
	}
}
