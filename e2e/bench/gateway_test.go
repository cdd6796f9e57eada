package bench_test

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

// The test binary stands in for the gateway when STAND_IN says how: what is
// tested here is what becomes of processes.
func TestMain(m *testing.M) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	switch how := os.Getenv("STAND_IN"); how {
	case "":
		signal.Stop(signals)
		os.Exit(m.Run())
	case "refuses":
		fmt.Fprintln(os.Stderr, `{"level":"ERROR","msg":"bad configuration"}`)
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, `not JSON`)
		fmt.Fprintln(os.Stderr, `{"level":"INFO","msg":"serving","listen":"127.0.0.1:8443","admin":"127.0.0.1:9443"}`)
		<-signals
		if how == "ends badly" {
			os.Exit(3)
		}
	}
}

func run(t *testing.T, how string) (g *bench.Gateway, log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "gateway.log")
	g, err := new(bench.Bench).Serve(t.Context(), bench.Run{Program: os.Args[0], Log: log, Env: []string{"STAND_IN=" + how}})
	if err != nil {
		t.Fatal(err)
	}
	return g, log
}

func TestGatewayServesAndStops(t *testing.T) {
	g, log := run(t, "well")
	if err := g.Serving(t.Context()); err != nil {
		t.Fatal(err)
	}
	if g.URL != "http://127.0.0.1:8443" || g.Admin != "http://127.0.0.1:9443" {
		t.Errorf("%s, %s", g.URL, g.Admin)
	}
	if err := g.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(log); err != nil || !strings.Contains(string(text), "not JSON\n{") {
		t.Errorf("%q, %v", text, err)
	}
}

func TestGatewayThatFailsIsToldApart(t *testing.T) {
	g, _ := run(t, "refuses")
	if err := g.Serving(t.Context()); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("refuses: %v", err)
	}
	g, _ = run(t, "ends badly")
	if err := g.Serving(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Stop(t.Context()); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("ends badly: %v", err)
	}
	g, _ = run(t, "killed")
	if err := g.Serving(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.Kill()
	if err := g.Stop(t.Context()); err == nil {
		t.Error("stopped a gateway that was killed")
	}
}
