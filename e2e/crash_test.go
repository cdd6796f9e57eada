package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

const crashConfig = `
listen: 127.0.0.1:0
url: http://127.0.0.1:8080
admin: {listen: 127.0.0.1:0}
issuers: [{name: a, url: @IDP@, audience: vaultspan}]
vaults:
  prod:
    bitwarden: {organization: @BW_ORG@, access_token: "${file:@SECRETS@/bws-token}", api: @BW_API@, identity: @BW_IDENTITY@}
roles:
  dev:
    members: [{issuer: a, groups: dev}]
    collections: {prod/team-dev: any}
routes:
  - {name: u1, match: [/u1/], strip: /u1, upstream: @U1@, secret: prod/team-dev/U1_TOKEN, inject: bearer}
audit: {dir: audit, key: "${file:@SECRETS@/audit.key}", segment_size: 256KiB}
`

// workshop is a gateway that is killed again and again over one audit log.
type workshop struct {
	*bench.Bench
	t          *testing.T
	dir        string
	key        string // the public one's file
	program    string
	checkpoint string // of the log as it was once
}

func newWorkshop(t *testing.T) *workshop {
	secrets := t.TempDir()
	b, err := bench.Start(t.Context(), secrets)
	if err != nil {
		t.Fatal(err)
	}
	w := &workshop{Bench: b, t: t, dir: t.TempDir(), key: filepath.Join(secrets, "audit.key.pub")}
	if w.program, err = program(); err != nil {
		t.Fatal(err)
	}
	if out, err := w.run("audit", "keygen", "e2e.test/crash", "--out", strings.TrimSuffix(w.key, ".pub")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	config := placeholder.ReplaceAllStringFunc(crashConfig, func(m string) string { return b.Env()[strings.Trim(m, "@")] })
	if err := os.WriteFile(filepath.Join(w.dir, "vaultspan.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *workshop) run(args ...string) (string, error) {
	cmd := exec.CommandContext(w.t.Context(), w.program, args...)
	cmd.Dir = w.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// verify proves the log in dir.
func (w *workshop) verify(dir string, more ...string) (string, error) {
	return w.run(append([]string{"audit", "verify", "--dir", dir, "--key", w.key}, more...)...)
}

func (w *workshop) serve() *bench.Gateway {
	g, err := w.Serve(w.t.Context(), bench.Run{
		Program: w.program, Dir: w.dir, Log: filepath.Join(w.dir, "gateway.log"), Env: []string{"PATH=" + os.Getenv("PATH")},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

// served waits until requests are served, and returns how long the process took
// from its start, recovery of the log included.
func (w *workshop) served(g *bench.Gateway, started time.Time) time.Duration {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := g.Serving(ctx); err != nil {
		w.t.Fatal(err)
	}
	return time.Since(started)
}

// press sends 200 requests a second until ctx ends, whatever becomes of them. The
// upstream answers one in ten of them late, so that a kill finds some under way.
func press(ctx context.Context, url, token string) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	defer client.CloseIdleConnections()
	var under sync.WaitGroup
	defer under.Wait()
	ticker := time.NewTicker(time.Second / 200)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		under.Go(func() {
			path := fmt.Sprint(n)
			if n%10 == 5 {
				path = "wait"
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/u1/"+path, strings.NewReader("amount=1"))
			if err != nil {
				return
			}
			req.Header.Set("Authorization", "Bearer "+token)
			if resp, err := client.Do(req); err == nil {
				resp.Body.Close()
			}
		})
	}
}

var crashes = flag.Int("kills", 100, "how often TestNoCrashLosesAUse kills the gateway")

// Kills at random moments, between starting and 250 ms of serving: whatever an
// upstream was sent, the log says so, and it stays provable.
func TestNoCrashLosesAUse(t *testing.T) {
	kills := *crashes
	if testing.Short() {
		kills = 20
	}
	w := newWorkshop(t)
	token, err := w.Token(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	var starts []time.Duration
	young := 0
	for i := range kills {
		started := time.Now()
		g := w.serve()
		if i%8 == 7 { // while it reads and closes the log of the last
			time.Sleep(rand.N(40 * time.Millisecond))
			young++
		} else {
			starts = append(starts, w.served(g, started))
			ctx, stop := context.WithTimeout(t.Context(), rand.N(250*time.Millisecond))
			press(ctx, g.URL, token)
			stop()
		}
		g.Kill()
		if out, err := w.verify("audit"); err != nil {
			t.Fatalf("after kill %d: %v\n%s", i+1, err, out)
		} else if i == kills/2 {
			w.checkpoint = out[strings.LastIndex(out, "e2e.test/crash\n"):]
		}
	}
	// The last one ends in peace: every attempt has an outcome then.
	g := w.serve()
	starts = append(starts, w.served(g, time.Now()))
	if err := g.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	out, err := w.verify("audit", "--since", w.keep("checkpoint.txt", w.checkpoint))
	if err != nil || strings.Contains(out, "without an outcome") {
		t.Errorf("at the end: %v\n%s", err, out)
	}

	intents, outcomes, unknown := w.attempts()
	uses := w.Upstreams["U1"].Uses()
	for _, use := range uses {
		if intents[use.Attempt] != 1 {
			t.Errorf("the upstream got %s, which has %d intents", use.Attempt, intents[use.Attempt])
		}
	}
	for attempt := range intents {
		if outcomes[attempt] != 1 {
			t.Errorf("attempt %s has %d outcomes", attempt, outcomes[attempt])
		}
	}
	if len(uses) < kills || unknown == 0 {
		t.Errorf("%d uses and %d orphans are no test", len(uses), unknown)
	}
	slices.Sort(starts)
	t.Logf("%d kills, %d of them while starting; %d uses, %d intents, %d of them orphans; from start to serving: median %v, most %v",
		kills, young, len(uses), len(intents), unknown, starts[len(starts)/2], starts[len(starts)-1])
	if most := starts[len(starts)-1]; most > patience/2 {
		t.Errorf("a restart took %v", most)
	}
	w.tamper()
	if found, err := w.Leaks(w.dir); err != nil || len(found) > 0 {
		t.Errorf("leaks: %v, %v", found, err)
	}
}

// attempts counts the intents and outcomes of each attempt in the log.
func (w *workshop) attempts() (intents, outcomes map[string]int, unknown int) {
	intents, outcomes = map[string]int{}, map[string]int{}
	for _, name := range w.segments("audit") {
		for line := range bytes.Lines(w.read(name)) {
			var e event
			if err := json.Unmarshal(line, &e); err != nil {
				w.t.Fatalf("%s: %v: %q", name, err, line)
			}
			switch {
			case e.Kind == "intent":
				intents[e.Attempt]++
			case e.Kind == "outcome":
				outcomes[e.Attempt]++
			}
			if e.Code == "outcome-unknown" {
				unknown++
			}
		}
	}
	return intents, outcomes, unknown
}

// tamper does to copies of the log what somebody with something to hide would,
// somewhere in the middle: each is found, and placed.
func (w *workshop) tamper() {
	segments := w.segments("audit")
	var victim string
	var lines [][]byte
	at := 0
	for _, victim = range segments[len(segments)/2:] { // a process that was killed early left none
		lines = bytes.SplitAfter(w.read(victim), []byte("\n"))
		at = slices.IndexFunc(lines[1:], func(line []byte) bool { return bytes.Contains(line, []byte(`"kind":"intent"`)) }) + 1
		if at > 0 && at+2 < len(lines) {
			break
		}
	}
	if at == 0 || at+2 >= len(lines) {
		w.t.Fatal("no segment has an intent to tamper with")
	}
	for _, c := range []struct {
		name string
		do   func(lines [][]byte) [][]byte
		want string
	}{
		{"flip a bit", func(lines [][]byte) [][]byte {
			lines[at] = bytes.Replace(lines[at], []byte(`"method":"POST"`), []byte(`"method":"QOST"`), 1)
			return lines
		}, "edited"},
		{"delete a line", func(lines [][]byte) [][]byte { return slices.Delete(lines, at, at+1) }, "deleted"},
		{"swap two lines", func(lines [][]byte) [][]byte {
			lines[at], lines[at+1] = lines[at+1], lines[at]
			return lines
		}, "reordered"},
	} {
		dir := w.t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(w.dir, "audit"))); err != nil {
			w.t.Fatal(err)
		}
		text := bytes.Join(c.do(slices.Clone(lines)), nil)
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(victim)), text, 0o600); err != nil {
			w.t.Fatal(err)
		}
		out, err := w.verify(dir)
		place := regexp.MustCompile(fmt.Sprintf(`%s:%d: record \d+: %s: `, filepath.Base(victim), at+1, c.want))
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || !place.MatchString(out) {
			w.t.Errorf("%s of line %d: %v, want %s\n%s", c.name, at+1, err, place, out)
		}
	}
	w.truncate(segments)
}

// truncate takes the newer part of the log away, and puts back the checkpoint
// that was the newest then: the rest is true as far as it goes. Only a checkpoint
// kept elsewhere tells.
func (w *workshop) truncate(segments []string) {
	dir := w.t.TempDir()
	var newest string
	for _, name := range segments[:max(1, len(segments)/4)] {
		text := w.read(name)
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), text, 0o600); err != nil {
			w.t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			var e struct{ Note string }
			if json.Unmarshal(line, &e) == nil && e.Note != "" {
				newest = e.Note
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "checkpoint"), []byte(newest), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if out, err := w.verify(dir); err != nil {
		w.t.Errorf("a cut log without anything to compare it with: %v\n%s", err, out)
	}
	out, err := w.verify(dir, "--since", w.keep("checkpoint.txt", w.checkpoint))
	if err == nil || !strings.Contains(out, "truncated") {
		w.t.Errorf("a cut log against a checkpoint kept elsewhere: %v\n%s", err, out)
	}
}

// keep writes a file outside of the log.
func (w *workshop) keep(name, text string) string {
	name = filepath.Join(w.dir, name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return name
}

func (w *workshop) segments(dir string) []string {
	names, err := filepath.Glob(filepath.Join(w.dir, dir, "*.jsonl"))
	if err != nil || len(names) == 0 {
		w.t.Fatalf("no segments: %v", err)
	}
	return names
}

func (w *workshop) read(name string) []byte {
	text, err := os.ReadFile(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}
