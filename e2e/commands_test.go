package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/vaultspan/vaultspan/authn/devidp"
	"github.com/vaultspan/vaultspan/e2e/bench"
	"github.com/vaultspan/vaultspan/e2e/otlp"
	"github.com/vaultspan/vaultspan/vault/bwemu"
)

type command = func(ts *testscript.TestScript, neg bool, args []string)

// commands are those that the package comment lists.
var commands = map[string]command{
	"fill": positive(fill), "vaultspan": vaultspan, "serve": serve, "waitready": positive(waitready), "waitsync": positive(waitsync),
	"terminate": positive(terminate), "crash": positive(crash), "hangup": positive(hangup),
	"token": token, "http": positive(request), "rotate": positive(rotate), "idp": positive(idp),
	"upstream": positive(received), "spantree": positive(spantree), "exported": positive(exported),
	"plant": positive(plant), "canary": positive(scan), "secret": positive(secret), "annotate": positive(annotate), "release": positive(release),
	"begin": positive(begin), "read": positive(readUntil), "send": positive(send), "finish": positive(finish), "dial": positive(dial),
	"await": positive(await), "records": positive(records), "accounted": positive(accounted),
	"load": positive(startLoad), "unload": positive(stopLoad), "disk": positive(disk), "certificate": positive(certificate),
	"drain": positive(drain), "reload": positive(reload), "login": positive(login), "backchannel": positive(backchannel), "session": positive(handle),
}

// positive is a command that "!" makes no sense of.
func positive(do func(ts *testscript.TestScript, s *scenario, args []string)) command {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("this command has no negation")
		}
		do(ts, of(ts), args)
	}
}

// need stops a script whose command has the wrong number of arguments.
func need(ts *testscript.TestScript, ok bool, usage string) {
	if !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

// patient is a context for one wait of a script.
func (s *scenario) patient() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.ctx, patience)
}

var placeholder = regexp.MustCompile(`@[A-Z0-9_]+@`)

func fill(ts *testscript.TestScript, _ *scenario, args []string) {
	need(ts, len(args) > 0, "fill FILE…")
	for _, name := range args {
		text := placeholder.ReplaceAllStringFunc(ts.ReadFile(name), func(m string) string {
			value := ts.Getenv(strings.Trim(m, "@"))
			if value == "" {
				ts.Fatalf("%s: nothing is called %s", name, m)
			}
			return value
		})
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

func vaultspan(ts *testscript.TestScript, neg bool, args []string) {
	exe, err := program()
	ts.Check(err)
	if err := ts.Exec(exe, args...); err == nil == neg {
		ts.Fatalf("vaultspan %s: %v", strings.Join(args, " "), err)
	}
}

func serve(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	names := ""
	if len(args) > 1 && args[0] == "-env" {
		names, args = args[1], args[2:]
	}
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"), "TMPDIR=" + ts.Getenv("TMPDIR")}
	for _, name := range split(names) {
		env = append(env, name+"="+ts.Getenv(name))
	}
	exe, err := program()
	ts.Check(err)
	gateway, err := s.Serve(s.ctx, bench.Run{Program: exe, Args: args, Dir: ts.MkAbs("."), Env: env, Log: ts.MkAbs("gateway.log")})
	ts.Check(err)
	ctx, cancel := s.patient()
	defer cancel()
	err = gateway.Serving(ctx)
	if err == nil == neg {
		ts.Logf("%s", ts.ReadFile("gateway.log"))
		ts.Fatalf("serving: %v", err)
	}
	if err == nil {
		s.gateway = gateway
		ts.Setenv("GATEWAY", gateway.URL)
		ts.Setenv("LISTEN", gateway.Listen)
		ts.Setenv("ADMIN", gateway.Admin)
	}
}

func waitready(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) < 2, "waitready [ROUTE]")
	url := ts.Getenv("ADMIN") + "/readyz"
	if len(args) == 1 {
		url += "?route=" + args[0]
	}
	last := "no answer"
	ok := s.poll(func() bool {
		resp, err := http.Get(url)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		last = string(text)
		return resp.StatusCode == http.StatusOK
	})
	if !ok {
		ts.Fatalf("not ready: %s", last)
	}
}

func waitsync(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 0, "waitsync")
	// The first sync to begin from now on has ended when the second begins.
	seen := s.Vault.Count(bwemu.Sync)
	if !s.poll(func() bool { return s.Vault.Count(bwemu.Sync) >= seen+2 }) {
		ts.Fatalf("the gateway does not sync")
	}
}

// poll asks again and again, and gives up with the patience of scripts.
func (s *scenario) poll(ok func() bool) bool {
	ctx, cancel := s.patient()
	defer cancel()
	return bench.Until(ctx, ok)
}

func terminate(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 0 && s.gateway != nil, "terminate, after serve")
	ctx, cancel := s.patient()
	defer cancel()
	end := s.gateway.Stop
	if s.draining {
		end = s.gateway.Ended
	}
	if err := end(ctx); err != nil {
		ts.Logf("%s", ts.ReadFile("gateway.log"))
		ts.Fatalf("%v", err)
	}
	s.gateway, s.draining = nil, false
}

func drain(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 0 && s.gateway != nil && !s.draining, "drain, after serve")
	ts.Check(s.gateway.Signal(syscall.SIGTERM))
	s.draining = true
}

func crash(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 0 && s.gateway != nil, "crash, after serve")
	s.gateway.Kill()
	s.gateway = nil
}

func hangup(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 0 && s.gateway != nil, "hangup, after serve")
	ts.Check(s.gateway.Signal(syscall.SIGHUP))
}

// reload puts each file in turn in the place of vaultspan.yaml, N times, and each
// time waits until the gateway has taken it.
func reload(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) > 1 && s.gateway != nil, "reload N FILE…, after serve")
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	count := regexp.MustCompile(`(?m)^vaultspan_config_reloads_total\{[^}]*"ok"[^}]*\} (\d+)$`)
	taken := func() string { return count.FindString(s.fetch(ts.Getenv("ADMIN")+"/metrics", "")) }
	for i := range n {
		before := taken()
		next := ts.MkAbs("vaultspan.yaml.next")
		ts.Check(os.WriteFile(next, []byte(ts.ReadFile(args[1+i%(len(args)-1)])), 0o600))
		ts.Check(os.Rename(next, ts.MkAbs("vaultspan.yaml")))
		ts.Check(s.gateway.Signal(syscall.SIGHUP))
		if !s.poll(func() bool { return taken() != before }) {
			ts.Fatalf("reload %d is not taken: %s", i+1, before)
		}
	}
}

func token(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, len(args) > 1, "token VAR WHO")
	s := of(ts)
	text, err := s.Token(s.ctx, strings.Join(args[1:], " "))
	if neg {
		if err == nil {
			ts.Fatalf("there is a token of %q", args[1:])
		}
		return
	}
	ts.Check(err)
	ts.Setenv(args[0], text)
}

func rotate(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 2, "rotate SECRET VALUE")
	ts.Check(s.Rotate(args[0], args[1]))
}

func secret(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 3, "secret PROJECT NAME VALUE")
	ts.Check(s.AddSecret(args[0], args[1], args[2]))
}

func annotate(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 2, "annotate SECRET FILE")
	ts.Check(s.Annotate(args[0], ts.ReadFile(args[1])))
}

func idp(ts *testscript.TestScript, s *scenario, args []string) {
	faults := map[string]http.Handler{"down": devidp.Down(), "html": devidp.HTML(), "hang": devidp.Hang(), "nokeys": devidp.NoKeys(), "none": nil}
	switch {
	case len(args) == 1 && args[0] == "rotate":
		_, err := s.IdP.Rotate()
		ts.Check(err)
	case len(args) == 1 && args[0] == "forget":
		s.IdP.ForgetOldKeys()
	case len(args) == 3 && args[0] == "fault":
		fault, ok := faults[args[2]]
		need(ts, ok, "idp fault PATH down|html|hang|nokeys|none")
		s.IdP.Fault(devidp.Endpoint(args[1]), fault)
	case len(args) == 3 && args[0] == "clock":
		skew, err := time.ParseDuration(args[1])
		ts.Check(err)
		lifetime, err := time.ParseDuration(args[2])
		ts.Check(err)
		s.Clock(skew, lifetime)
	default:
		need(ts, false, "idp rotate | forget | fault PATH KIND | clock SKEW LIFETIME")
	}
}

func received(ts *testscript.TestScript, s *scenario, args []string) {
	flags := flag.NewFlagSet("upstream", flag.ContinueOnError)
	n := flags.Int("wait", 0, "")
	headers := flags.String("headers", "", "")
	ts.Check(flags.Parse(args))
	u := s.Upstreams[flags.Arg(0)]
	need(ts, u != nil, "upstream [-wait N] [-headers NAMES] U1|U2|U3")
	ctx, cancel := s.patient()
	defer cancel()
	ts.Check(u.Wait(ctx, *n))
	for _, use := range u.Uses() {
		fmt.Fprint(ts.Stdout(), use)
		for _, name := range split(*headers) {
			fmt.Fprintf(ts.Stdout(), " %s=%q", name, use.Header.Values(name))
		}
		fmt.Fprintln(ts.Stdout())
	}
}

func release(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 1 && s.Upstreams[args[0]] != nil, "release U1|U2|U3")
	s.Upstreams[args[0]].Release()
}

func spantree(ts *testscript.TestScript, s *scenario, args []string) {
	flags := flag.NewFlagSet("spantree", flag.ContinueOnError)
	wait := flags.String("wait", "", "")
	show := flags.String("show", "vaultspan.*,http.*,error.type", "")
	volatile := flags.String("volatile", strings.Join(volatile, ","), "")
	ts.Check(flags.Parse(args))
	id := flags.Arg(0)
	if id == "" {
		id = ts.Getenv("TRACE")
	}
	need(ts, id != "", "spantree [-wait NAMES] [-show PATTERNS] [-volatile PATTERNS] [TRACE], after http")
	ctx, cancel := s.patient()
	defer cancel()
	spans, err := s.OTLP.WaitTrace(ctx, id, split(*wait)...)
	ts.Check(err)
	view := otlp.View{Show: split(*show), Volatile: split(*volatile)}
	io.WriteString(ts.Stdout(), view.Tree(spans, s.OTLP.Spans()))
}

// volatile are the attributes that no two runs share.
var volatile = []string{
	"vaultspan.attempt", "vaultspan.decision.revision", "vaultspan.secret.id", "vaultspan.secret.version", "vaultspan.secret.fingerprint",
	"vaultspan.secret.age", "vaultspan.audit.seq", "vaultspan.audit.wait",
}

func exported(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 1 || len(args) == 3, "exported traces|metrics|logs [HEADER VALUE]")
	signal := otlp.Signal(args[0])
	ctx, cancel := s.patient()
	defer cancel()
	ts.Check(s.OTLP.Wait(ctx, func(store *otlp.Store) bool { return len(store.Exports(signal)) > 0 }))
	for _, e := range s.OTLP.Exports(signal) {
		if len(args) == 3 && e.Header.Get(args[1]) != args[2] {
			ts.Fatalf("%s came with %s: %q", signal, args[1], e.Header.Get(args[1]))
		}
	}
}

func plant(ts *testscript.TestScript, s *scenario, args []string) {
	flags := flag.NewFlagSet("plant", flag.ContinueOnError)
	upstream := flags.String("for", "", "")
	ts.Check(flags.Parse(args))
	need(ts, flags.NArg() > 0 && (*upstream == "" || s.Upstreams[*upstream] != nil), "plant [-for U1|U2|U3] VALUE…")
	if *upstream != "" {
		s.PlantFor(*upstream, flags.Args()...)
		return
	}
	s.Plant(flags.Args()...)
}

func scan(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 0, "canary")
	found, err := s.Leaks(ts.Getenv("WORK"))
	ts.Check(err)
	for _, f := range found {
		ts.Logf("%s", f)
	}
	if len(found) > 0 {
		ts.Fatalf("%s leaked", strconv.Itoa(len(found)))
	}
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}
