// Package e2e_test runs the scripts of this directory against the gateway as a
// binary. Each script has a bench of its own (package bench) and these commands,
// beside those of testscript:
//
//	fill FILE…                    put the bench's addresses in place of @NAME@ (SECRETS, IDP, U1…)
//	vaultspan ARG…                run a subcommand
//	serve [-env NAMES] [ARG…]     start the gateway in $WORK; sets $GATEWAY, $LISTEN and $ADMIN
//	waitready [ROUTE]             until /readyz says so
//	waitsync                      until the gateway holds what the vault holds now
//	drain                         SIGTERM, and no waiting
//	terminate | crash             SIGTERM, unless drain was before, and a clean exit; SIGKILL
//	hangup                        SIGHUP
//	reload N FILE…                N times the next FILE as vaultspan.yaml and SIGHUP, each until it is active
//	await [-n N] [-gone] [-accept TYPE] FROM PATTERN
//	                              until the URL or the files FROM have N matches, or none; shows them
//	token VAR WHO                 put a token in $VAR: alice, ci-deployer, dex:alice, "agent-1 for alice",
//	                              other:alice (of an issuer nobody knows), expired:alice
//	http [FLAG…] STATUS URL       a request; URL may begin with / for $GATEWAY. The body goes to stdout,
//	                              the headers to stderr, X-Request-Id to $TRACE
//	      -token VAR  -method M  -header 'K: V'  -data TEXT  -bytes N  -host HOST  -on CONN
//	      -times N  N requests, all of them so  -until  again and again, until one is so
//	      -jar JAR  from a browser that logged in: to http://localhost:8080  -page  as it goes to a page
//	login JAR PERSON STATUS PAGE [END]
//	                              a browser goes to a page, picks its person at issuer A where it is asked to,
//	                              and ends with this status on that page, or on END. Shows it as http does
//	backchannel PERSON STATUS     issuer A says that somebody's login ended there
//	session VAR PERSON            the id of somebody's newest session, in $VAR
//	dial CONN                     connect, for later requests "-on CONN" and none but them
//	begin [FLAG…] NAME URL        a request that goes on: a stream, a WebSocket, a slow answer
//	read NAME PATTERN             until its answer so far matches
//	send NAME TEXT                into a WebSocket
//	finish NAME STATUS whole|cut  until it has ended, and how
//	load [-rate N] [FLAG…] NAME URL   requests beside the script, N a second
//	unload [-least N] NAME        until so many were answered; shows each status, code and error there was
//	rotate SECRET VALUE           a new version in the vault (U1_TOKEN, U2_KEY)
//	annotate SECRET FILE          its note is what the file says
//	secret PROJECT NAME VALUE     one more secret in the vault
//	idp rotate | forget           the keys of issuer A
//	idp fault PATH down|html|hang|nokeys|none
//	idp clock SKEW LIFETIME       of the ID tokens that issuer A gives to people, and no refresh token;
//	                              "0s 0s" is as it was
//	upstream [-wait N] [-headers NAMES] NAME
//	                              what U1, U2 or U3 received, a line each, to stdout
//	release NAME                  let go of the requests that the upstream holds
//	disk small DIR                a small file system of its own for DIR, where that is permitted
//	disk limit                    from now on full and free are a limit of the gateway's process
//	disk full | free
//	certificate                   tls.crt and tls.key for gw.example.com
//	spantree [FLAG…] [TRACE]      the tree of a trace, by default $TRACE, to stdout
//	      -wait NAMES  -show PATTERNS  -volatile PATTERNS
//	exported SIGNAL [HEADER VALUE]  wait for traces, metrics or logs; check a header of theirs
//	records [-kind KIND] [-count] FIELD…  of the audit log in $WORK/audit, to stdout
//	accounted                     every refusal that callers were told is in that log, once
//	plant [-for NAME] VALUE…      further secrets that must appear nowhere, or only at that upstream
//	canary                        no secret and no token is in $WORK, telemetry, answers or another upstream
//
// VAULTSPAN_BINARY names a binary to run the scripts against instead of building
// one. Run with -update to write what cmp found different into the scripts.
package e2e_test

import (
	"context"
	"flag"
	"net/http"
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
	program = bench.Program("..", dir)
	flag.Parse()
	flag.Set("test.parallel", "8") // scripts wait far more than they work
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
	ctx      context.Context
	gateway  *bench.Gateway
	draining bool

	connections map[string]*http.Client
	visitors    map[string]*visitor
	exchanges   map[string]*exchange
	loads       map[string]*load
	small       string // where the small file system is

	mu      sync.Mutex
	refused []refusal
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
	env.Values[key{}] = &scenario{
		Bench: b, ctx: ctx,
		connections: map[string]*http.Client{}, visitors: map[string]*visitor{}, exchanges: map[string]*exchange{}, loads: map[string]*load{},
	}
	return nil
}
