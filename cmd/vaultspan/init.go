package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/config"
	"github.com/vaultspan/vaultspan/vault/bitwarden"
)

func (p *program) initCommand() *cobra.Command {
	var dir string
	var yes, tokenStdin bool
	d := &draft{}
	c := &cobra.Command{
		Use:   "init",
		Short: "Begin a configuration, with the keys it needs",
		Long: `Write a commented configuration for one issuer, one vault and one route, the
keys it refers to, and the commands that come next. On a terminal what no flag
says is asked for. Nothing is ever overwritten.

The machine account's access token is taken from the environment variable
BWS_ACCESS_TOKEN, from --access-token-stdin, or asked for without showing it; it
goes into a file of its own (mode 0600). Without one, put it there later.

With --login people can use the route with a browser: they are sent to the issuer
to log in to that client (docs/sessions.md).`,
		Example: `  vaultspan init
  vaultspan init --yes --dir gw \
    --issuer https://login.example.com --group payments \
    --organization 5f1c2a77-0000-4000-8000-000000000000 \
    --upstream https://api.stripe.com --secret payments/STRIPE_API_KEY`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			in := &terminal{in: c.InOrStdin(), out: p.stderr}
			token, err := p.accessToken(c.Context(), in, tokenStdin)
			if err != nil {
				return err
			}
			ask := !yes && !tokenStdin && in.interactive()
			if err := p.complete(c.Context(), d, in, ask); err != nil {
				return err
			}
			if token == "" && ask {
				token, err = in.ask(c.Context(), asking{text: "Access token of the machine account, which is not shown (empty: later)", hidden: true, check: checkAccessToken})
				if err != nil {
					return err
				}
			}
			return p.begin(c.Context(), d, dir, token)
		},
	}
	flags := c.Flags()
	for _, q := range questions {
		flags.StringVar(q.answer(d), q.flag, "", q.usage)
	}
	flags.StringVar(&dir, "dir", ".", "the `directory` to write to; it is made if it is not there")
	flags.BoolVar(&yes, "yes", false, "ask nothing: take the defaults for what no flag says")
	flags.BoolVar(&tokenStdin, "access-token-stdin", false, "read the access token from standard input, and ask nothing")
	c.MarkFlagDirname("dir")
	c.MarkFlagDirname("audit-dir")
	c.RegisterFlagCompletionFunc("admin-socket", anyFile)
	c.RegisterFlagCompletionFunc("tokens", cobra.FixedCompletions([]string{"access", "id"}, cobra.ShellCompDirectiveNoFileComp))
	c.RegisterFlagCompletionFunc("server", cobra.FixedCompletions([]string{"us", "eu"}, cobra.ShellCompDirectiveNoFileComp))
	c.RegisterFlagCompletionFunc("inject", cobra.FixedCompletions([]string{"bearer", "basic", "header=", "basic=", "query=", "cookie="}, cobra.ShellCompDirectiveNoSpace|cobra.ShellCompDirectiveNoFileComp))
	return c
}

// accessToken is the token that is there without asking, or "".
func (p *program) accessToken(ctx context.Context, in *terminal, stdin bool) (string, error) {
	token, from := strings.TrimSpace(p.getenv("BWS_ACCESS_TOKEN")), "BWS_ACCESS_TOKEN"
	if stdin {
		line, err := in.line(ctx)
		if err != nil {
			return "", fmt.Errorf("--access-token-stdin: %w", err)
		}
		token, from = line, "--access-token-stdin"
	}
	if err := checkAccessToken(token); err != nil {
		return "", fmt.Errorf("%s: %w", from, err)
	}
	return token, nil
}

func checkAccessToken(token string) error {
	if token == "" {
		return nil // later
	}
	return bitwarden.CheckToken(token)
}

// file is one that init writes.
type file struct {
	name, text string
	mode       fs.FileMode
	purpose    string
}

// begin writes everything, or nothing, and says what comes next.
func (p *program) begin(ctx context.Context, d *draft, dir, token string) error {
	text, err := d.text()
	if err != nil {
		return err
	}
	private, public, err := audit.Keygen(d.origin())
	if err != nil {
		return err
	}
	files := []file{
		{"vaultspan.yaml", text, 0o644, "the configuration: read its comments"},
		{"audit.key", private + "\n", 0o600, "signs the audit log: back it up apart from the log"},
		{"audit.key.pub", public + "\n", 0o644, "verifies the audit log: give it to the auditor"},
		{"fingerprint.key", randomKey() + "\n", 0o600, "makes fingerprints of secrets comparable over restarts"},
		{"session.key", randomKey() + "\n", 0o600, "seals the sessions of people with a browser"},
	}
	if token != "" {
		files = append(files, file{d.TokenFile(), token + "\n", 0o600, "the machine account's access token"})
	}
	if err := writeAll(dir, files); err != nil {
		return err
	}
	for _, f := range files {
		fmt.Fprintf(p.stdout, "%-24s %s\n", filepath.Join(dir, f.name), f.purpose)
	}
	path := filepath.Join(dir, "vaultspan.yaml")
	cfg, problems := p.examine(ctx, path)
	problems = slices.DeleteFunc(problems, func(p config.Problem) bool { // files that only the reader has
		return token == "" && strings.HasSuffix(p.Path, ".bitwarden.access_token") || d.Login != "" && p.Path == "issuers[0].login.client_secret"
	})
	if len(problems) > 0 {
		return p.report(problems)
	}
	paste := func(what, name string) {
		fmt.Fprintf(p.stdout, `
Put %s where the configuration looks for it:

  (umask 077; cat > %s)    # paste it, then Enter and Ctrl-D
`, what, shellQuote(filepath.Join(dir, name)))
	}
	if token == "" {
		paste("the machine account's access token (Bitwarden: Secrets Manager → Machine\naccounts → Access tokens)", d.TokenFile())
	}
	if d.Login != "" {
		fmt.Fprintln(p.stdout)
		printRedirects(p.stdout, cfg)
		paste("the secret of client "+d.Login+" at the issuer", loginSecret)
	}
	vaultspan := shellQuote(self())
	fmt.Fprintf(p.stdout, `
Next:

  %s check --online -c %[2]s
  %[1]s serve -c %[2]s
  curl -i -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8443%[3]s    # a token of the issuer's, of somebody in %[4]s
`, vaultspan, shellQuote(path), d.Match(), d.Group)
	if d.Login != "" {
		fmt.Fprintf(p.stdout, "  http://127.0.0.1:8443%s    # in a browser, once those URIs are registered\n", d.Match())
	}
	return nil
}

// writeAll writes files that must not be there yet. If one cannot be written,
// those that were are removed again.
func writeAll(dir string, files []file) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	var there []string
	for _, f := range files {
		if _, err := os.Lstat(filepath.Join(dir, f.name)); err == nil {
			there = append(there, filepath.Join(dir, f.name))
		}
	}
	if len(there) > 0 {
		return fmt.Errorf("%s: already there, and nothing is overwritten: choose another --dir, or move it away first", strings.Join(there, ", "))
	}
	var written []string
	for _, f := range files {
		name := filepath.Join(dir, f.name)
		if err := writeNew(name, f.text, f.mode); err != nil {
			if !errors.Is(err, fs.ErrExist) { // else it is another's
				written = append(written, name)
			}
			for _, name := range written {
				os.Remove(name)
			}
			return err
		}
		written = append(written, name)
	}
	return nil
}

// randomKey is 256 bits.
func randomKey() string {
	key := make([]byte, 32)
	rand.Read(key)
	return hex.EncodeToString(key)
}

// shellQuote is a word as a POSIX shell reads it.
func shellQuote(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:@%+=,-") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
