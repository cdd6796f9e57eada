// Command vaultspan is an identity-aware reverse proxy. It authenticates
// callers with OpenID Connect, asks Rego which vault collection their roles
// reach, puts the upstream's credential from Bitwarden on the request, and
// records and traces all of it. Callers never hold the credential.
//
// This package is the operator's side: one file a subcommand. It wires values
// and decides nothing. Only here are flags, the environment and signals read.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// net/http logs what it cannot tell its caller to the standard logger, and
	// quotes upstreams there ("Unsolicited response … starting with …").
	log.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, errReported) {
			fmt.Fprintln(os.Stderr, "vaultspan:", err)
		}
		stop()
		os.Exit(1)
	}
}
