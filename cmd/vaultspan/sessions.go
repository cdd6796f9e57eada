package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vaultspan/vaultspan/authn/session"
)

func (p *program) sessionsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "sessions",
		Short: "See who is logged in with a browser, and log them out",
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(p.sessionsListCommand(), p.sessionsRevokeCommand())
	return c
}

// about is which sessions an operator means, and where to ask.
type about struct {
	path, socket string
	filter       session.Filter
	timeout      time.Duration
}

func (a *about) flags(c *cobra.Command) {
	configFlag(c, &a.path)
	c.Flags().StringVar(&a.socket, "socket", "", "ask on this socket `file` instead of reading the configuration")
	c.Flags().StringVar(&a.filter.Handle, "id", "", "the session of this `id`, as list shows it")
	c.Flags().StringVar(&a.filter.Subject, "subject", "", "sessions of this `subject`")
	c.Flags().StringVar(&a.filter.Issuer, "issuer", "", "sessions of this `issuer`")
	c.Flags().DurationVar(&a.timeout, "timeout", 10*time.Second, "how long to wait for the answer")
	c.RegisterFlagCompletionFunc("socket", anyFile)
	c.MarkFlagsMutuallyExclusive("config", "socket")
}

// askSessions asks the running gateway.
func (p *program) askSessions(ctx context.Context, a *about, method string) ([]byte, error) {
	if a.socket == "" {
		var err error
		if a.socket, err = adminSocket(a.path, p.getenv); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	query := url.Values{}
	for name, value := range map[string]string{"id": a.filter.Handle, "subject": a.filter.Subject, "issuer": a.filter.Issuer} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return askGateway(ctx, a.socket, method, "/sessions?"+query.Encode())
}

func (p *program) sessionsListCommand() *cobra.Command {
	var a about
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List who is logged in",
		Long: `Ask the running gateway, over admin.socket of its configuration, for the sessions
of people who are logged in, on every node that shares its store. The ids are for
"vaultspan sessions revoke", logs and records; nobody can log in with one.`,
		Example: "  sudo -u vaultspan vaultspan sessions list --issuer corp",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			answer, err := p.askSessions(c.Context(), &a, http.MethodGet)
			if err != nil {
				return err
			}
			if asJSON {
				_, err := p.stdout.Write(answer)
				return err
			}
			var listed []session.Listed
			if err := json.Unmarshal(answer, &listed); err != nil {
				return errors.New("the answer is not a list of sessions")
			}
			table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "ID\tISSUER\tSUBJECT\tBEGAN\tUSED\tENDS")
			for _, s := range listed {
				fmt.Fprintf(table, "%s\t%s\t%q\t%s\t%s\t%s\n", s.ID, s.Issuer, s.Subject, s.Created, s.Used, s.Ends)
			}
			return table.Flush()
		},
	}
	a.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (p *program) sessionsRevokeCommand() *cobra.Command {
	var a about
	c := &cobra.Command{
		Use:   "revoke",
		Short: "Log people out",
		Long: `End sessions, and the streams and WebSockets that are open with them, on every
node within five seconds. Say whose: by id, subject or issuer; more than one of
them narrow it down. Who still has an account at the issuer can log in again.`,
		Example: "  sudo -u vaultspan vaultspan sessions revoke --issuer corp --subject 3f1c…",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if a.filter == (session.Filter{}) {
				return errors.New("say whose sessions: --id, --subject or --issuer")
			}
			answer, err := p.askSessions(c.Context(), &a, http.MethodDelete)
			if err != nil {
				return err
			}
			var ended struct{ Ended int }
			if err := json.Unmarshal(answer, &ended); err != nil {
				return errors.New("the answer is not a number of sessions")
			}
			fmt.Fprintln(p.stdout, counted(ended.Ended, "session"), "ended")
			return nil
		},
	}
	a.flags(c)
	return c
}

// filterOf is which sessions a request of an operator means.
func filterOf(r *http.Request) session.Filter {
	q := r.URL.Query()
	return session.Filter{Handle: q.Get("id"), Subject: q.Get("subject"), Issuer: q.Get("issuer")}
}

func listSessions(w http.ResponseWriter, r *http.Request, m *session.Manager) {
	if m == nil {
		writeJSON(w, []session.Listed{})
		return
	}
	listed, err := m.List(r.Context(), filterOf(r))
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	writeJSON(w, listed)
}

func revokeSessions(w http.ResponseWriter, r *http.Request, m *session.Manager) {
	n := 0
	if m != nil {
		var err error
		if n, err = m.Revoke(r.Context(), filterOf(r)); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	writeJSON(w, map[string]int{"ended": n})
}
