package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/config"
	"github.com/vaultspan/vaultspan/vault/bitwarden"
)

func (p *program) checkCommand() *cobra.Command {
	var path string
	var online bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Say everything that is wrong with a configuration",
		Long: `Read a configuration and everything it names, and print all problems at once,
each with its place and what to do. Exit status 1 if there are any.

With --online also ask each issuer for its keys, each vault for its secrets, and
the Redis that sessions are in: an issuer that does not answer as one, a revoked
access token, a collection or a secret that does not exist or whose name matches
two, a password that Redis does not take.`,
		Example: "  vaultspan check --config vaultspan.yaml --online",
		Args:    noArguments,
		RunE:    func(c *cobra.Command, _ []string) error { return p.check(c.Context(), path, online) },
	}
	configFlag(c, &path)
	c.Flags().BoolVar(&online, "online", false, "also ask the issuers, the vaults and Redis")
	return c
}

// check prints every problem.
func (p *program) check(ctx context.Context, path string, online bool) error {
	if err := p.conceal(); err != nil {
		return err
	}
	cfg, problems := p.examine(ctx, path)
	if online && cfg != nil {
		problems = config.AllProblems(path, problems, p.checkOnline(ctx, cfg, problems))
	}
	if len(problems) > 0 {
		return p.report(problems)
	}
	p.warn(cfg)
	fmt.Fprintf(p.stdout, "%s: %s, %s, %s, %s: no problem found\n", path,
		counted(len(cfg.Routes), "route"), counted(len(cfg.Roles), "role"), counted(len(cfg.Issuers), "issuer"), counted(len(cfg.Vaults), "vault"))
	printRedirects(p.stdout, cfg)
	printVerification(p.stdout, cfg)
	if !online {
		fmt.Fprintln(p.stdout, "issuers and vaults were not asked: add --online")
	}
	return nil
}

// checkOnline asks every issuer, every vault and the session store, each with a limit of its own,
// but not those whose settings are known to be wrong.
func (p *program) checkOnline(ctx context.Context, cfg *config.Config, known config.Problems) config.Problems {
	wrong := func(path string) bool {
		return slices.ContainsFunc(known, func(k config.Problem) bool { return k.Path == path || strings.HasPrefix(k.Path, path+".") })
	}
	var found []error
	for i, issuer := range cfg.Issuers {
		if wrong(fmt.Sprintf("issuers[%d]", i)) {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		if err := authn.Probe(ctx, issuer); err != nil {
			found = append(found, cfg.Problem(fmt.Sprintf("issuers[%d].url", i), err.Error()))
		}
		cancel()
	}
	budgets, accounts := &bitwarden.Budgets{}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(cfg.Vaults)) {
		if !wrong("vaults." + name) {
			found = append(found, p.checkVault(ctx, cfg, name, budgets, accounts))
		}
	}
	if !wrong("sessions") {
		found = append(found, checkSessions(ctx, cfg))
	}
	return config.AllProblems("", found...)
}
