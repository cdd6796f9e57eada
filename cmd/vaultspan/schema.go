package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/vaultspan/vaultspan/config"
)

func (p *program) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration, for editors",
		Long: `Print the JSON Schema (2020-12) of vaultspan.yaml. With it an editor completes
keys, shows what they mean and marks mistakes. Write it to a file, and name that
in the first line of the configuration:

  # yaml-language-server: $schema=vaultspan.schema.json

The schema knows keys, types and words. That names lead somewhere, files exist
and issuers answer, only "vaultspan check" knows.`,
		Example: "  vaultspan schema > vaultspan.schema.json",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(p.stdout, config.Schema())
			return err
		},
	}
}
