package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// errReported ends a command whose problems have been printed already.
var errReported = errors.New("reported")

// program is what every subcommand may use of the outside.
type program struct {
	getenv         func(string) string
	stdout, stderr io.Writer
}

// run is the whole program without the process around it.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	p := &program{getenv: getenv, stdout: stdout, stderr: stderr}
	root := &cobra.Command{
		Use:   "vaultspan",
		Short: "An identity-aware proxy that lends credentials without giving them away",
		Long: `vaultspan authenticates callers with OpenID Connect, asks Rego which vault
collection their roles reach, puts the upstream's credential from Bitwarden on
the request, and records and traces all of it. Callers never hold the credential.

Start with:
  vaultspan demo                     everything in one process, on loopback
  vaultspan dev                      an issuer, a vault and APIs to try a gateway of your own against
  vaultspan init                     a configuration of your own, and its keys
  vaultspan check -c vaultspan.yaml  every problem of a configuration, at once
  vaultspan serve -c vaultspan.yaml  the gateway`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArguments,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp) // flags that name files say so
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(p.initCommand(), p.serveCommand(), p.checkCommand(), p.demoCommand(), p.devCommand(), p.auditCommand(), p.secretsCommand(), p.sessionsCommand(), p.healthCommand(), p.schemaCommand(), p.versionCommand())
	return root.ExecuteContext(ctx)
}

// noArguments refuses arguments, and says what may have been meant.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	help := "see " + c.CommandPath() + " --help"
	if c.HasAvailableSubCommands() {
		c.SuggestionsMinimumDistance = 2 // letters
		if meant := c.SuggestionsFor(args[0]); len(meant) > 0 {
			help = "did you mean " + strings.Join(meant, " or ") + "?"
		}
		return fmt.Errorf("unknown command %q: %s", args[0], help)
	}
	if c.Flags().Lookup("config") != nil {
		help = fmt.Sprintf("if it is the configuration, write %s --config %s", c.CommandPath(), args[0])
	}
	return fmt.Errorf("%s takes no argument %q: %s", c.CommandPath(), args[0], help)
}

// anyFile completes a flag with the names of files.
var anyFile = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)

// configFlag adds -c, --config to a command.
func configFlag(c *cobra.Command, path *string) {
	c.Flags().StringVarP(path, "config", "c", "vaultspan.yaml", "the configuration `file`")
	c.MarkFlagFilename("config", "yaml", "yml")
}
