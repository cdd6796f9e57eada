// Package e2e_test runs the scripts of this directory against the gateway as a
// binary. Each script has a bench of its own (package bench) and these commands,
// beside those of testscript:
//
//	fill FILE…                    put the bench's addresses in place of @NAME@ (SECRETS, IDP, U1…)
//	vaultspan ARG…                run a subcommand
//	serve [-env NAMES] [ARG…]     start the gateway in $WORK; sets $GATEWAY and $ADMIN
//	waitready [ROUTE]             until /readyz says so
//	waitsync                      until the gateway holds what the vault holds now
//	terminate | crash | hangup    SIGTERM and a clean exit; SIGKILL; SIGHUP
//	token VAR WHO                 put a token in $VAR: alice, ci-deployer, dex:alice, "agent-1 for alice"
//	http [FLAG…] STATUS URL       a request; URL may begin with / for $GATEWAY. The body goes to stdout,
//	                              the headers to stderr, X-Request-Id to $TRACE
//	      -token VAR  -method M  -header 'K: V'  -data TEXT  -host HOST
//	rotate SECRET VALUE           a new version in the vault (U1_TOKEN, U2_KEY)
//	idp rotate | forget           the keys of issuer A
//	idp fault PATH down|html|hang|nokeys|none
//	upstream [-wait N] NAME       what U1, U2 or U3 received, a line each, to stdout
//	spantree [FLAG…] [TRACE]      the tree of a trace, by default $TRACE, to stdout
//	      -wait NAMES  -show PATTERNS  -volatile PATTERNS
//	exported SIGNAL [HEADER VALUE]  wait for traces, metrics or logs; check a header of theirs
//	plant VALUE…                  further secrets that must appear nowhere
//	canary                        no secret and no token is in $WORK, telemetry, answers or another upstream
//
// VAULTSPAN_BINARY names a binary to run the scripts against instead of building
// one. Run with -update to write what cmp found different into the scripts.
package e2e_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

var update = flag.Bool("update", false, "write what cmp found different into the scripts")

// patience bounds every wait of a script; none is meant to last.
const patience = 30 * time.Second

// program builds the gateway when the first script serves.
var program func() (string, error)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "vaultspan-e2e-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	program = sync.OnceValues(func() (string, error) {
		if built := os.Getenv("VAULTSPAN_BINARY"); built != "" {
			return built, nil
		}
		return bench.Build(context.Background(), "..", dir)
	})
	return m.Run()
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "scripts", UpdateScripts: *update, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: setup, Cmds: commands,
	})
}

// Every scenario ends with the canary scan, and there are scenarios.
func TestEveryScriptScansForCanaries(t *testing.T) {
	scripts, err := filepath.Glob("scripts/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	scan := regexp.MustCompile(`(?m)^canary$`)
	early := regexp.MustCompile(`(?m)^(\[.*\] *)?(stop|skip|kill)\b`) // testscript's own: would end a script, and pass it
	for _, name := range scripts {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !scan.Match(text) {
			t.Errorf("%s has no line \"canary\"", name)
		}
		if found := early.Find(text); found != nil {
			t.Errorf("%s would end at %q and pass", name, found)
		}
	}
}

// scenario is one script under way.
type scenario struct {
	*bench.Bench
	ctx     context.Context
	gateway *bench.Gateway
}

// of returns the scenario of a script.
func of(ts *testscript.TestScript) *scenario { return ts.Value(key{}).(*scenario) }

type key struct{}

func setup(env *testscript.Env) error {
	secrets, err := os.MkdirTemp("", "vaultspan-secrets-") // outside of $WORK, which is scanned
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(context.Background())
	env.Defer(func() {
		end()
		os.RemoveAll(secrets)
	})
	b, err := bench.Start(ctx, secrets)
	if err != nil {
		return err
	}
	for name, value := range b.Env() {
		env.Setenv(name, value)
	}
	env.Values[key{}] = &scenario{Bench: b, ctx: ctx}
	return nil
}
