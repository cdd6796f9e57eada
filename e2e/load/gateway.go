package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"text/template"

	_ "embed"
)

//go:embed vaultspan.yaml
var gatewayConfig string

// gateway is vaultspan with everything on.
type gateway struct {
	world    *world
	program  string
	mode     string // of the audit log
	sample   float64
	profiled bool // the program was built by profiled
}

// start runs the gateway at an address, with an audit log of its own, until it
// can serve.
func (g gateway) start(ctx context.Context, address string) (*process, error) {
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	w := g.world
	log, err := os.MkdirTemp(w.dir, "audit-")
	if err != nil {
		return nil, err
	}
	t, err := template.New("").Parse(gatewayConfig)
	if err != nil {
		return nil, err
	}
	groups := make([]string, roleSets)
	for n := range groups {
		groups[n] = group(n)
	}
	var text strings.Builder
	err = t.Execute(&text, map[string]any{
		"Listen": address, "Admin": admin, "Issuer": w.issuer.Issuer(), "Upstream": w.address, "Collector": w.collector,
		"Organization": w.organization, "API": w.server.API, "Identity": w.server.Identity,
		"Groups": groups, "Audit": log, "Mode": g.mode, "Sample": g.sample,
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(w.dir, "vaultspan.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		return nil, err
	}
	var env []string
	profiles := ""
	if g.profiled {
		if profiles, err = freeAddress(); err != nil {
			return nil, err
		}
		env = []string{profilesVariable + "=" + profiles}
	}
	p, err := start(ctx, filepath.Join(w.dir, "vaultspan.log"), g.program, env, "serve", "--config", file)
	if err != nil {
		return nil, err
	}
	p.profiles = profiles
	p.ended = func(answered int) error { return g.verify(log, answered) }
	return p, p.ready(ctx, answering("http://"+admin+"/readyz?route=bench"))
}

// outcomes finds how many attempts an audit log has the end of, in what
// "audit verify" prints.
var outcomes = regexp.MustCompile(`(?m)^outcomes +(\d+) \(0 not sent, 0 unknown\)$`)

// verify makes sure that every answer is on record before it is counted, and
// removes the log, which is large.
func (g gateway) verify(dir string, answered int) error {
	key := filepath.Join(g.world.dir, "audit.key.pub")
	said, err := exec.Command(g.program, "audit", "verify", "--dir", dir, "--key", key).CombinedOutput()
	if err != nil {
		return fmt.Errorf("audit verify: %w\n%s", err, said)
	}
	if m := outcomes.FindSubmatch(said); m == nil || string(m[1]) != strconv.Itoa(answered) {
		return fmt.Errorf("%d requests were answered, but the audit log says\n%s", answered, said)
	}
	return os.RemoveAll(dir)
}
