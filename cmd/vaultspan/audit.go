package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vaultspan/vaultspan/audit"
)

func (p *program) auditCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "Make the audit log's key, and verify the log",
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(p.auditKeygenCommand(), p.auditVerifyCommand())
	return c
}

func (p *program) auditKeygenCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "keygen NAME",
		Short: "Make the key that signs an audit log",
		Long: `Make an Ed25519 key for audit.key. NAME becomes the log's origin in every
checkpoint: choose one that no other log has, such as gw.example.com/audit.

The private key goes to --out, which must not exist; the public key goes to
--out with .pub, and is printed. Keep the private key outside audit.dir, and give
the public key to whoever verifies.`,
		Example: "  vaultspan audit keygen gw.example.com/audit --out audit.key",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("want one NAME for the log, such as gw.example.com/audit: see %s --help", c.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			private, public, err := audit.Keygen(args[0])
			if err != nil {
				return err
			}
			if err := writeNew(out, private+"\n", 0o600); err != nil {
				return err
			}
			if err := writeNew(out+".pub", public+"\n", 0o644); err != nil {
				return err
			}
			fmt.Fprintln(p.stdout, public)
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "audit.key", "the `file` to write the private key to")
	c.RegisterFlagCompletionFunc("out", anyFile)
	return c
}

func (p *program) auditVerifyCommand() *cobra.Command {
	var dir, key, since string
	c := &cobra.Command{
		Use:   "verify --dir DIR --key FILE",
		Short: "Prove that nothing in an audit log was changed",
		Long: `Read a whole audit log, offline, and prove with the public key alone that no
record was edited, deleted, inserted or reordered. If one was, the first bad
place is named and the exit status is 1. The log may be in use.

Cutting off the end, or putting an old copy back, leaves a log that is true as
far as it goes. --since finds that: give it a checkpoint that was kept elsewhere
(the process log and OTLP have one per second of activity).`,
		Example: "  vaultspan audit verify --dir /var/lib/vaultspan/audit --key audit.key.pub --since checkpoint.txt",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			options := audit.VerifyOptions{Dir: dir}
			public, err := keyOrFile(key)
			if err != nil {
				return err
			}
			options.PublicKey = public
			if since != "" {
				note, err := os.ReadFile(since)
				if err != nil {
					return fmt.Errorf("--since: %w", err)
				}
				options.Since = bytes.NewReader(note)
			}
			if segments, err := filepath.Glob(filepath.Join(dir, "*.jsonl")); err != nil || len(segments) == 0 {
				return fmt.Errorf("--dir: %s holds no audit log: either it is not what audit.dir names, or all of the log was deleted", dir)
			}
			report, err := audit.Verify(options)
			if err != nil {
				return err
			}
			p.printReport(report, since != "")
			return nil
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "the log's `directory`, or a copy of it")
	c.Flags().StringVar(&key, "key", "", "the public key, or the `file` that holds it")
	c.Flags().StringVar(&since, "since", "", "a `file` with a checkpoint that was kept elsewhere")
	c.MarkFlagDirname("dir")
	c.RegisterFlagCompletionFunc("key", anyFile)
	c.RegisterFlagCompletionFunc("since", anyFile)
	c.MarkFlagRequired("dir")
	c.MarkFlagRequired("key")
	return c
}

// printReport says what was proven, and what was not.
func (p *program) printReport(r audit.Report, since bool) {
	say := func(label, format string, args ...any) {
		fmt.Fprintf(p.stdout, "%-12s"+format+"\n", append([]any{label}, args...)...)
	}
	fmt.Fprintln(p.stdout, "The log is whole: every record is as it was written.")
	say("records", "%d in %d segments, %d bytes", r.Records, r.Segments, r.Bytes)
	if r.Records > 0 {
		say("from", "%s", r.First.Format(time.RFC3339))
		say("to", "%s", r.Last.Format(time.RFC3339))
	}
	say("intents", "%d", r.Intents)
	say("outcomes", "%d (%d not sent, %d unknown)", r.Outcomes, r.NotSent, r.Unknown)
	say("refusals", "%d", r.Refusals)
	say("changes", "%d", r.Changes)
	say("checkpoints", "%d; %d records after the newest", r.Checkpoints, r.Unsigned)
	if len(r.Orphans) > 0 {
		say("open", "%d attempts without an outcome: %s", len(r.Orphans), strings.Join(r.Orphans[:min(5, len(r.Orphans))], " "))
	}
	if r.Torn > 0 {
		say("torn", "%d bytes of an unfinished last line", r.Torn)
	}
	if r.Ignored > 0 {
		say("ignored", "%d bytes that failed writes left behind", r.Ignored)
	}
	if since {
		fmt.Fprintln(p.stdout, "It continues the checkpoint given with --since: nothing was cut off or put back.")
	} else {
		fmt.Fprintln(p.stdout, "Not proven: that nothing was cut off the end. Keep this checkpoint elsewhere, and give it to --since next time:")
	}
	fmt.Fprintf(p.stdout, "\n%s", r.Head)
}

// keyOrFile reads a public key given by value or by file. A private key is
// refused, because verifying must not need it.
func keyOrFile(key string) (string, error) {
	if text, err := os.ReadFile(key); err == nil {
		key = string(text)
	} else if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(key, "+") {
		return "", fmt.Errorf("--key: %w", err)
	}
	if strings.HasPrefix(key, "PRIVATE+KEY+") {
		return "", errors.New("--key is the private key: verifying needs the public one only (the .pub file)")
	}
	return strings.TrimSpace(key), nil
}

// writeNew writes a file that must not exist yet: a key is never overwritten.
func writeNew(name, text string, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is never overwritten: move it away, or choose another name: %w", name, fs.ErrExist)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
