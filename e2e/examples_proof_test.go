package e2e_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	yaml "go.yaml.in/yaml/v3"

	"github.com/vaultspan/vaultspan/e2e/examples"
)

// proofs are what is to be shown of an example beyond its README.
var proofs = map[string]func(*testing.T, *example){
	"assertion": func(t *testing.T, x *example) {
		// The gateway takes another key to sign with, and the wiki, which has never
		// heard of it, goes on.
		x.sees(t, "Terminal 4", `(umask 077; { openssl rand -hex 32; cat assertion.key; } > next.key; mv next.key assertion.key)
until [ "$(curl -s http://127.0.0.1:8443/.vaultspan/jwks.json | grep -o kid | wc -l)" = 6 ]; do sleep 0.1; done
curl -s -H "Authorization: Bearer $ALICE" http://127.0.0.1:8443/wiki/Home`, `…"reader":"corp:alice",…`)
	},
	"per-team": func(t *testing.T, x *example) {
		// The greedy configuration is not only reported: it can be served, and gets
		// nothing.
		x.interrupt(t, "Terminal 2")
		x.leftRunning(t, "Terminal 2", "vaultspan serve -c greedy.yaml", "…serving…")
		x.sees(t, "Terminal 4", `curl -H "Authorization: Bearer $ALICE" http://127.0.0.1:8443/search/v1/find`, `…"code":"no-credential"…`)
		x.sees(t, "Terminal 4", `curl -H "Authorization: Bearer $ALICE" http://127.0.0.1:8443/payments/v1/balance`, `{"balance":4200,…`)
	},
	"telemetry-ingest": func(t *testing.T, x *example) {
		// A caller cannot bring an ingest token of its own, right or wrong.
		x.sees(t, "Terminal 4", `OTEL_EXPORTER_OTLP_HEADERS="lightstep-access-token=mine,authorization=Bearer%20$SHOP" go -C ../../e2e run ./examples/send own-token`, "sent own-token")
		x.sees(t, "Terminal 4", `OTEL_EXPORTER_OTLP_HEADERS="lightstep-access-token=$(vaultspan dev secret telemetry/LIGHTSTEP_ACCESS_TOKEN)" go -C ../../e2e run ./examples/send stolen-token`, "not sent: …401…")
		x.sees(t, "Terminal 4", `send shop "$SHOP" last`, "sent last")
		x.follow(t, examples.Step{Terminal: "Terminal 2", Running: true, Sees: []string{"trace …: checkout", "trace …: own-token", "trace …: last"}})
		arrived := x.Shown()["Terminal 2"]
		for _, name := range []string{"no-role", "expired", "forged", "missing", "stolen-token", "refused"} {
			if strings.Contains(arrived, name) {
				t.Errorf("%s reached the collector:\n%s", name, arrived)
			}
		}
	},
	"behind-nginx": func(t *testing.T, x *example) {
		// What nginx says is what the policy sees, over HTTP/2 too.
		x.sees(t, "Terminal 4", `curl --http2 -s -o body -w '%{http_version} %{http_code}\n' --cacert cert.pem --interface 127.0.0.2 -H "Authorization: Bearer $ALICE" https://localhost:8443/payments/v1/balance`, "2 200")
		x.sees(t, "Terminal 4", `curl --cacert cert.pem --path-as-is --interface 127.0.0.2 -H "Authorization: Bearer $ALICE" https://localhost:8443/payments/%2e%2e/admin`, `…"code":"target-noncanonical"…`)
	},
	"people": func(t *testing.T, x *example) {
		// Who logs out here is logged out at the provider, and led back.
		x.sees(t, "Terminal 3", "login carol", "<h1>Home</h1>")
		x.sees(t, "Terminal 3", `browser -o /dev/null -w '%{http_code} %{url_effective}\n' -d "" http://127.0.0.1:8443/.vaultspan/logout`, "200 http://127.0.0.1:8443/.vaultspan/signed-out")
		x.sees(t, "Terminal 3", "browser http://127.0.0.1:7701/account?person=carol", "<li>no application</li>")
	},
	"otel-collector": func(t *testing.T, x *example) {
		id := regexp.MustCompile(`X-Request-Id: (\w+)`).FindStringSubmatch(x.Shown()["Terminal 4"])
		if id == nil || !strings.Contains(x.Shown()["Terminal 2"], "trace "+id[1]+"  vaultspan: GET payments\n") {
			t.Errorf("the trace of the response (%q) is not the one that arrived", id)
		}
		takesWhatIsSent(t, filepath.Join(x.Dir, "collector.yaml"))
	},
	"lightstep": func(t *testing.T, x *example) {
		if strings.Contains(x.Shown()["Terminal 2"], "refused") {
			t.Error("an export came without the token")
		}
		// And the collector does look: another token is refused.
		x.interrupt(t, "Terminal 3")
		x.sees(t, "Terminal 3", "echo another > lightstep.token")
		x.leftRunning(t, "Terminal 3", "vaultspan serve", "…serving…")
		x.follow(t, examples.Step{Terminal: "Terminal 2", Running: true, Sees: []string{"refused an export: its lightstep-access-token is not the one"}})
	},
}

// takesWhatIsSent gives a collector's configuration to its receiver: its keys
// are known, and its ports those that the gateway sends to.
func takesWhatIsSent(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]any
	if err := yaml.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	section, err := confmap.NewFromStringMap(raw).Sub("receivers::otlp")
	if err != nil {
		t.Fatal(err)
	}
	cfg := otlpreceiver.NewFactory().CreateDefaultConfig().(*otlpreceiver.Config)
	if err := section.Unmarshal(cfg); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	grpc, web := cfg.Protocols.GRPC.Get(), cfg.Protocols.HTTP.Get()
	if grpc == nil || grpc.NetAddr.Endpoint != "127.0.0.1:4317" || web == nil || web.ServerConfig.NetAddr.Endpoint != "127.0.0.1:4318" {
		t.Errorf("%s: grpc %+v, http %+v", file, grpc, web)
	}
}

// interrupt is Ctrl-C.
func (x *example) interrupt(t *testing.T, terminal string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := x.Interrupt(ctx, terminal); err != nil {
		t.Fatalf("%s: Ctrl-C in %s: %v", x.name, terminal, err)
	}
}

// leftRunning types a command that goes on.
func (x *example) leftRunning(t *testing.T, terminal, script string, want ...string) {
	t.Helper()
	x.follow(t, examples.Step{Terminal: terminal, Running: true, Script: script + "\n", Sees: want})
}
