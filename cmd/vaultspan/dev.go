package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/vaultspan/vaultspan/authn/devidp"
)

//go:embed dev_guide.txt
var devGuide string

func (p *program) devCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run stand-ins for what you do not have at hand, on loopback",
		Long: `Run an OpenID provider, an emulator of Bitwarden Secrets Manager and some APIs
that demand a key, so that a gateway can be tried by hand before any of it is set
up. The ports, ids and secrets are the same each time. The examples use it.

It lets anyone be anyone: it is for development, and listens on loopback only.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return p.dev(c.Context()) },
	}
	c.AddCommand(p.devTokenCommand(), p.devAccessTokenCommand(), p.devSecretCommand(), p.devClientSecretCommand())
	return c
}

// dev serves the stand-ins until ctx ends.
func (p *program) dev(ctx context.Context) error {
	w := newDevWorld()
	failed := make(chan error, 1)
	if err := w.serve(ctx, failed); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("%w: is vaultspan dev running already?", err)
		}
		return err
	}
	if err := template.Must(template.New("").Parse(devGuide)).Execute(p.stdout, w); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

func (p *program) devTokenCommand() *cobra.Command {
	var expired bool
	c := &cobra.Command{
		Use:   "token NAME",
		Short: "Print a token of somebody, as a login would give it",
		Long: `Print an access token of a person, workload or agent of the OpenID provider of
"vaultspan dev", which must be running.`,
		Example: "  TOKEN=$(vaultspan dev token alice)",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			query := url.Values{"person": args}
			if slices.ContainsFunc(newDevWorld().Clients, func(client devidp.Client) bool { return client.ID == args[0] }) {
				query = url.Values{"client": args}
			}
			if expired {
				query.Set("age", "24h")
			}
			return p.devToken(c.Context(), args[0], query)
		},
	}
	c.Flags().BoolVar(&expired, "expired", false, "one that was good until some hours ago")
	return c
}

// devToken asks the provider of another process.
func (p *program) devToken(ctx context.Context, name string, query url.Values) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, devIssuer+"/token-for?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	// A proxy of the environment has no business between us and loopback.
	client := &http.Client{Transport: &http.Transport{Proxy: nil}}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return errors.New("the OpenID provider does not run: start \"vaultspan dev\" in another terminal")
	} else if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		var names []string
		w := newDevWorld()
		for _, person := range w.People {
			names = append(names, person.Subject)
		}
		for _, client := range w.Clients {
			names = append(names, client.ID)
		}
		return fmt.Errorf("nobody is called %s: there is %s", name, strings.Join(names, ", "))
	}
	token, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("the OpenID provider answers %s", response.Status)
	}
	if err == nil {
		_, err = p.stdout.Write(token)
	}
	return err
}

func (p *program) devAccessTokenCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "access-token ACCOUNT",
		Short: "Print the access token of a machine account of the emulator",
		Long: `Print what Bitwarden shows once when a machine account's access token is made:
here, of an account of the emulator that "vaultspan dev" runs.`,
		Example: "  vaultspan dev access-token gateway --out bws.token",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			token, err := newDevWorld().accessToken(args[0])
			if err != nil {
				return err
			}
			return p.printSecret(token, out)
		},
	}
	c.Flags().StringVar(&out, "out", "", "write it to this `file`, for nobody else to read")
	return c
}

func (p *program) devSecretCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:     "secret PROJECT/NAME",
		Short:   "Print the value of a secret of the emulator",
		Example: "  vaultspan dev secret payments/PAYMENTS_API_KEY",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			w := newDevWorld()
			i := slices.IndexFunc(w.Secrets, func(s devSecret) bool { return s.Project+"/"+s.Name == args[0] })
			if i < 0 {
				var names []string
				for _, s := range w.Secrets {
					names = append(names, s.Project+"/"+s.Name)
				}
				return fmt.Errorf("no secret %s: there is %s", args[0], strings.Join(names, ", "))
			}
			return p.printSecret(w.Secrets[i].value(), out)
		},
	}
	c.Flags().StringVar(&out, "out", "", "write it to this `file`, for nobody else to read")
	return c
}

func (p *program) devClientSecretCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "client-secret CLIENT",
		Short: "Print the secret of the client that people log in to with a browser",
		Long: `Print what an OpenID provider shows when a client is registered: here, the secret
of the one that the provider of "vaultspan dev" has, for a gateway at
http://127.0.0.1:8443.`,
		Example: "  vaultspan dev client-secret vaultspan --out login.secret",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			login := newDevWorld().Login
			if args[0] != login.ID {
				return fmt.Errorf("nobody logs in to a client %s: there is %s", args[0], login.ID)
			}
			return p.printSecret(login.secret(), out)
		},
	}
	c.Flags().StringVar(&out, "out", "", "write it to this `file`, for nobody else to read")
	return c
}

// printSecret prints a secret, or writes it where only its owner may read it.
func (p *program) printSecret(secret, out string) error {
	if out == "" {
		_, err := fmt.Fprintln(p.stdout, secret)
		return err
	}
	return os.WriteFile(out, []byte(secret+"\n"), 0o600)
}
