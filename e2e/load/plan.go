package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// plan is one run of the bench.
type plan struct {
	root      string // to build a profiled gateway from
	gateway   string
	dir       string
	length    time.Duration // of each loop
	rounds    int
	rate      int
	tokens    int
	algorithm string
	sample    float64
	profile   string
	only      []string
	calm      float64 // the share of the machine that others may have
	progress  io.Writer
}

// subject is what is measured.
type subject struct {
	letter, name string
	start        func(ctx context.Context, address string) (*process, error) // nil: the upstream itself
	requests     [][]byte
	once         bool // each request may be sent once: the subject has never seen it
}

// run measures, and returns the table.
func (p plan) run(ctx context.Context) (_ string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if p.dir, err = filepath.Abs(p.dir); err != nil {
		return "", err
	}
	if p.gateway, err = filepath.Abs(p.gateway); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(p.dir, "load-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
		}
	}()
	machine, err := describe(dir)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(p.progress, "signing %d tokens\n", p.tokens)
	w, err := newWorld(ctx, dir, p.algorithm, p.tokens)
	if err != nil {
		return "", err
	}
	subjects, err := p.subjects(ctx, w)
	if err != nil {
		return "", err
	}
	t := table{plan: p, machine: machine, results: map[string][]result{}}
	for round := range p.rounds {
		for _, s := range subjects {
			for counts := false; !counts; {
				if err := calm(ctx, p.calm, w.upstream); err != nil {
					return "", err
				}
				r, err := p.round(ctx, w, s)
				if err != nil {
					return "", fmt.Errorf("%s: %w (logs are in %s)", s.name, err, dir)
				}
				fmt.Fprintf(p.progress, "round %d of %d: (%s) %.2f CPU-s/100k, p50 %s, p99 %s; others had up to %.0f%%\n",
					round+1, p.rounds, s.letter, r.cpu, r.p50, r.p99, 100*r.others)
				if counts = r.others <= p.calm; counts {
					t.add(s, r)
				}
			}
		}
	}
	return t.String(), nil
}

// subjects lists what is there to measure, the upstream itself first: latencies
// are what a subject adds to it.
func (p plan) subjects(ctx context.Context, w *world) ([]subject, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	program := p.gateway
	if p.profile != "" {
		if program, err = profiled(ctx, p.root, w.dir); err != nil {
			return nil, err
		}
	}
	keygen := exec.CommandContext(ctx, program, "audit", "keygen", "load", "--out", filepath.Join(w.dir, "audit.key"))
	if out, err := keygen.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("audit keygen: %w\n%s", err, out)
	}
	buffered := gateway{world: w, program: program, mode: "buffered", sample: p.sample, profiled: p.profile != ""}
	strict := buffered
	strict.mode = "strict"
	reverseProxy := func(ctx context.Context, address string) (*process, error) {
		credential := credentialVariable + "=" + w.credential
		child, err := start(ctx, filepath.Join(w.dir, "reverseproxy.log"), self, []string{credential}, roleReverseProxy, address, w.address)
		if err != nil {
			return nil, err
		}
		return child, child.ready(ctx, listening(address))
	}
	all := []subject{
		{letter: "-", name: "upstream alone", requests: [][]byte{asking(w.credential)}},
		{letter: "a", name: "ReverseProxy, one header", start: reverseProxy, requests: w.warm},
		{letter: "b", name: "vaultspan, buffered", start: buffered.start, requests: w.warm},
		{letter: "c", name: "vaultspan, strict", start: strict.start, requests: w.warm},
		{letter: "d", name: "vaultspan, cold tokens", start: buffered.start, requests: w.cold, once: true},
	}
	if program, ok := installed("nginx"); ok {
		r := rival{w, program, nginxConfig, []string{"-e", "stderr", "-p", w.dir, "-c"}}
		all = append(all, subject{letter: "n", name: "nginx, one header", start: r.start, requests: w.warm})
	}
	if program, ok := installed("haproxy"); ok {
		r := rival{w, program, haproxyConfig, []string{"-db", "-f"}}
		all = append(all, subject{letter: "h", name: "HAProxy, one header", start: r.start, requests: w.warm})
	}
	if len(p.only) == 0 {
		return all, nil
	}
	chosen := slices.DeleteFunc(all, func(s subject) bool { return s.start != nil && !slices.Contains(p.only, s.letter) })
	if len(chosen) < 1+len(p.only) {
		return nil, errors.New("-only names a subject that is not there")
	}
	return chosen, nil
}
