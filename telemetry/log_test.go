package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/telemetry"
)

type contextKey struct{}

func TestALogLineHoldsPlainValuesAndTheTypesOfAllOthers(t *testing.T) { // M08, M13, M14
	tel, log := start(t, telemetry.Setup{Config: telemetry.Config{LogLevel: slog.LevelDebug}})
	reveal := secret(canary)
	request, _ := http.NewRequestWithContext(context.WithValue(t.Context(), contextKey{}, canary), http.MethodGet, "https://u:"+canary+"@127.0.0.1:1/p?key="+canary, nil)
	request.Header.Set("Authorization", "Bearer "+canary)
	_, failed := http.DefaultTransport.RoundTrip(request)
	_, failedToo := (&http.Client{}).Do(request)
	tel.Logger.With("header", request.Header).WithGroup("g").Debug("all",
		"func", reveal, "request", request, "url", request.URL, "map", map[string]string{"a": canary},
		"struct", struct{ Reveal func() string }{reveal}, "pointer", &struct{ S string }{canary}, "bytes", []byte(canary),
		"context", request.Context(), slog.Group("inner", "func", reveal),
		"err", fmt.Errorf("sync: %w", errors.Join(failed, failedToo)),
		"addr", netip.MustParseAddr("192.0.2.1"), "nil", nil, "stringer", (*url.URL)(nil), "error", (*url.Error)(nil), "list", []string{"a", "b"}, "d", time.Second)
	line := log.lines(t)[0]
	if strings.Contains(log.String(), canary) {
		t.Fatalf("the canary is in %s", log)
	}
	if line["header"] != "(http.Header)" {
		t.Errorf("header %v", line["header"])
	}
	g := line["g"].(map[string]any)
	for key, want := range map[string]any{
		"func": "(func() string)", "request": "(*http.Request)", "addr": "192.0.2.1", "nil": nil, "list": "a, b", "d": 1e9,
	} {
		if g[key] != want {
			t.Errorf("%s: %v, want %v", key, g[key], want)
		}
	}
	if got := fmt.Sprint(g["err"]); !strings.Contains(got, "https://127.0.0.1:1/p") || !strings.Contains(got, "refused") {
		t.Errorf("the useful part of an error is gone: %s", got)
	}
}

func TestTheLevelHoldsForWhatIsSentToo(t *testing.T) {
	c := overHTTPS(t)
	tel, log := start(t, telemetry.Setup{Config: telemetry.Config{
		LogLevel: slog.LevelWarn, OTLP: telemetry.OTLP{Endpoint: c.url, CA: c.ca, Protocol: "http"},
	}})
	tel.Logger.Info("quiet", "func", secret(canary))
	tel.Logger.Warn("loud")
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(c.logs) != 1 || c.logs[0] != "loud" || len(log.lines(t)) != 1 {
		t.Errorf("sent %q, wrote %s", c.logs, log)
	}
}

func TestUserIDsTellCallersApartAndNotWhoTheyAre(t *testing.T) { // M19
	random, _ := start(t, telemetry.Setup{})
	again, _ := start(t, telemetry.Setup{})
	keyed := telemetry.Setup{Config: telemetry.Config{PseudonymKey: secret("0123456789abcdef" + canary)}}
	one, _ := start(t, keyed)
	two, _ := start(t, keyed)
	plain, _ := start(t, telemetry.Setup{Config: telemetry.Config{Identities: "plain"}})

	id := random.UserID("corp", "alice@example.com")
	if strings.Contains(id, "alice") || len(id) != 26 {
		t.Errorf("pseudonym %q", id)
	}
	if id != random.UserID("corp", "alice@example.com") || id == random.UserID("other", "alice@example.com") || id == random.UserID("corpa", "lice@example.com") {
		t.Error("equal callers must be equal, and others not")
	}
	if id == again.UserID("corp", "alice@example.com") {
		t.Error("without a key, a restart changes the pseudonyms")
	}
	if one.UserID("corp", "alice") != two.UserID("corp", "alice") {
		t.Error("with a key, instances agree")
	}
	if got := plain.UserID("corp", "alice"); got != "corp/alice" {
		t.Errorf("plain %q", got)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if strings.Contains(fmt.Sprintf(verb, one), canary) || strings.Contains(fmt.Sprintf(verb, keyed), canary) {
			t.Errorf("%s prints the key", verb)
		}
	}
}
