package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/vaultspan/vaultspan/config"
	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/vault"
	"github.com/vaultspan/vaultspan/vault/bitwarden"
)

// load reads a configuration that can be served, policies included, or prints
// everything that is wrong with it.
func (p *program) load(ctx context.Context, path string) (*config.Config, error) {
	cfg, problems := p.examine(ctx, path)
	if len(problems) > 0 {
		return nil, p.report(problems)
	}
	p.warn(cfg)
	return cfg, nil
}

// warn prints what works but should be looked at.
func (p *program) warn(cfg *config.Config) {
	for _, warning := range cfg.Warnings() {
		fmt.Fprintln(p.stderr, "warning: "+warning.Error())
	}
}

// examine finds every problem that can be found offline.
func (p *program) examine(ctx context.Context, path string) (*config.Config, config.Problems) {
	cfg, err := config.Load(path, p.getenv)
	if cfg == nil {
		return nil, config.AllProblems(path, err)
	}
	// A configuration with problems still has policies to look at.
	_, policyErr := policy.New(ctx, rulesOf(cfg))
	errs := []error{err, policyErr}
	for _, name := range slices.Sorted(maps.Keys(cfg.Vaults)) {
		if token := cfg.Vaults[name].Bitwarden.AccessToken; token != nil {
			if err := bitwarden.CheckToken(token()); err != nil {
				errs = append(errs, cfg.Problem("vaults."+name+".bitwarden.access_token", err.Error()))
			}
		}
	}
	return cfg, config.AllProblems(path, errs...)
}

// report prints problems and returns what ends the command.
func (p *program) report(problems config.Problems) error {
	for _, problem := range problems {
		fmt.Fprintln(p.stderr, problem.Error())
	}
	fmt.Fprintln(p.stderr, counted(len(problems), "problem"))
	return errReported
}

// counted is a number of things in words: 1 route, 2 routes.
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// checkVault logs in and looks for every secret that a route names. accounts
// remembers which vault has which machine account.
func (p *program) checkVault(ctx context.Context, cfg *config.Config, name string, budgets *bitwarden.Budgets, accounts map[string]string) error {
	path := "vaults." + name + ".bitwarden"
	setup := bitwarden.Setup{Name: name, Config: cfg.Vaults[name].Bitwarden, Budgets: budgets}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	account, err := bitwarden.Probe(ctx, setup)
	if err != nil {
		return cfg.Problem(path, err.Error())
	}
	if first, taken := accounts[account]; taken {
		return cfg.Problem(path+".access_token", "is another access token of the machine account of vault "+first+": give each vault a machine account of its own")
	}
	accounts[account] = name
	source, err := bitwarden.New(setup)
	if err != nil {
		return cfg.Problem(path, err.Error())
	}
	defer source.Close()
	v, err := vault.Open(vault.Setup{
		Name: name, Config: cfg.Vaults[name], Source: source, Bindings: bindingsOf(cfg)[name], FingerprintKey: fingerprintKey(cfg),
	})
	if err != nil {
		return cfg.Problem(path, err.Error())
	}
	defer v.Close()
	if err := v.Wait(ctx); err != nil {
		return cfg.Problem(path, err.Error())
	}
	var problems config.Problems
	for _, problem := range v.Problems() {
		for i, r := range cfg.Routes {
			if r.Name == problem.Route {
				at := r.CandidateAt(slices.Index(r.Candidates(), problem.Secret))
				problems = append(problems, cfg.Problem(fmt.Sprintf("routes[%d].%s", i, at), problem.Text)...)
			}
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return problems
}

// isTerminal says whether somebody looks at w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
