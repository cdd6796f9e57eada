// Command load measures what the gateway costs beside proxies that do less: it
// starts an upstream and each subject as processes of their own, puts the same
// load on all of them in turn, and prints one table. It runs on Linux, whose
// accounting of processes it reads.
//
// Everything is on loopback and without TLS. The tokens are real, of an issuer
// that this process runs; so is the vault, which is the emulator; the audit log
// is on the disk under -dir. The upstream demands the credential that each
// subject has to put on a request, and an answer other than 200 ends the run:
// there is no number for work that was not done.
//
// A round of a subject is a fresh process, a moment to warm up, then
//
//   - a closed loop: 64 connections, each sending as soon as it was answered.
//     CPU seconds by request and requests by second come from here;
//   - an open loop: a constant rate, whatever comes back. A latency counts from
//     when its request was due, so that a stall is seen by all who would have
//     met it (no coordinated omission).
//
// Rounds go A B C D A B C D, so that a slow minute of the machine is everyone's,
// and the table has each column's median.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "load:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	if len(args) == 3 && args[0] == roleUpstream { // started by plan
		return serveUpstream(ctx, args[1], getenv(credentialVariable))
	}
	if len(args) == 3 && args[0] == roleReverseProxy {
		return serveReverseProxy(ctx, args[1], args[2], getenv(credentialVariable))
	}
	p := plan{progress: stderr}
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&p.gateway, "gateway", "bin/vaultspan", "the gateway's `binary`")
	flags.StringVar(&p.dir, "dir", "bin", "`directory` for the audit logs: on the disk that is to be measured")
	seconds := flags.Float64("seconds", 10, "length of each loop")
	flags.IntVar(&p.rounds, "rounds", 3, "rounds of every subject")
	flags.IntVar(&p.rate, "rate", 1000, "requests a second of the open loop")
	flags.IntVar(&p.tokens, "tokens", 20000, "distinct tokens of the cold subject")
	flags.StringVar(&p.algorithm, "algorithm", "RS256", "what signs the tokens: RS256 or ES256")
	flags.Float64Var(&p.sample, "sample", 0.1, "share of requests whose trace is exported")
	flags.StringVar(&p.profile, "profile", "", "build the gateway with pprof, and write profiles to this `directory`")
	flags.StringVar(&p.root, "root", ".", "the `checkout` to build that gateway from")
	flags.Float64Var(&p.calm, "calm", 1, "wait for, and repeat, what others disturbed with more than this `share` of the machine, such as 0.05")
	only := flags.String("only", "", "subjects, by letter or name, with commas; default all that are installed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *seconds <= 0 || p.rounds < 1 || p.rate < 1 || p.tokens < 1 {
		return errors.New("wants flags only, and numbers above zero: see -help")
	}
	p.length = time.Duration(*seconds * float64(time.Second))
	if *only != "" {
		p.only = strings.Split(*only, ",")
	}
	table, err := p.run(ctx)
	if err != nil {
		return err
	}
	_, err = io.WriteString(stdout, table)
	return err
}
