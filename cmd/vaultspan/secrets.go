package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vaultspan/vaultspan/vault"
)

func (p *program) secretsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "secrets",
		Short: "Look at the secrets that a running gateway holds",
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(p.secretsStatusCommand())
	return c
}

func (p *program) secretsStatusCommand() *cobra.Command {
	var path, socket string
	var asJSON bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "status",
		Short: "Say which version of each secret is held, how old it is, and who uses it",
		Long: `Ask the running gateway, over admin.socket of its configuration, for each secret
that a route wears: which version is held, how long ago its value last changed
(and how old it may get), when it was last used and how often since the start,
whom its note names as owner, when it expires, and whether it is used:

  ok       used
  due      to be rotated soon: past warn of max_age, or expires within 14 days
  stale    used, and marked as stale in spans and records: not confirmed by the
           vault for two refreshes, or past stale of max_age
  refused  not used: the route is closed, and why

Values are never shown. The socket is for the gateway's user, and for root.
Problems of the rest of the configuration do not matter.`,
		Example: "  sudo -u vaultspan vaultspan secrets status --config /etc/vaultspan/vaultspan.yaml",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if socket == "" {
				if socket, err = adminSocket(path, p.getenv); err != nil {
					return err
				}
			}
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			answer, err := askGateway(ctx, socket, http.MethodGet, "/secrets")
			if err != nil {
				return err
			}
			if asJSON {
				_, err := p.stdout.Write(answer)
				return err
			}
			var report secretsReport
			if err := json.Unmarshal(answer, &report); err != nil {
				return fmt.Errorf("%s is not the gateway's socket: its answer is not what was asked for", socket)
			}
			return report.print(p.stdout)
		},
	}
	configFlag(c, &path)
	c.Flags().StringVar(&socket, "socket", "", "ask on this socket `file` instead of reading the configuration")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: the same and more, with instants in place of ages")
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for the answer")
	c.RegisterFlagCompletionFunc("socket", anyFile)
	c.MarkFlagsMutuallyExclusive("config", "socket")
	return c
}

// secretsReport is the answer to GET /secrets.
type secretsReport struct {
	Time    time.Time   `json:"time"` // by the gateway's clock
	Secrets []secretRow `json:"secrets"`
}

// secretRow is one secret on one route. It lists what may be shown.
type secretRow struct {
	Secret      string     `json:"secret"` // vault/collection/name
	Route       string     `json:"route"`
	ID          string     `json:"id,omitempty"`
	Version     string     `json:"version,omitempty"` // as in records; empty: no value is held
	Fingerprint string     `json:"fingerprint,omitempty"`
	Revised     time.Time  `json:"revised,omitzero"`   // the secret, by the vault's clock
	Changed     time.Time  `json:"changed,omitzero"`   // the value, as far as the gateway saw it
	Confirmed   time.Time  `json:"confirmed,omitzero"` // by the last good refresh
	MaxAge      *maxAgeRow `json:"max_age,omitempty"`
	Expires     time.Time  `json:"expires,omitzero"` // by the note
	Until       time.Time  `json:"until,omitzero"`   // not used from then on, by max_age or expires
	Owner       string     `json:"owner,omitempty"`
	Uses        int64      `json:"uses"` // since the start
	LastUsed    time.Time  `json:"last_used,omitzero"`
	State       string     `json:"state"`            // ok, due, stale or refused
	Reason      string     `json:"reason,omitempty"` // for people
}

// maxAgeRow is in seconds.
type maxAgeRow struct {
	Warn   float64 `json:"warn,omitzero"`
	Stale  float64 `json:"stale,omitzero"`
	Refuse float64 `json:"refuse,omitzero"`
}

// secretsOf is what is held for the configuration that is served.
func secretsOf(p *parts) secretsReport {
	report := secretsReport{Time: time.Now().UTC(), Secrets: []secretRow{}}
	type worn struct{ secret, route string }
	for _, name := range slices.Sorted(maps.Keys(p.vaults)) {
		rows := map[worn]secretRow{} // bindings of former configurations come first
		for _, s := range p.vaults[name].Status().Secrets {
			rows[worn{s.Secret, s.Route}] = rowOf(s, report.Time)
		}
		report.Secrets = append(report.Secrets, slices.SortedFunc(maps.Values(rows), func(a, b secretRow) int {
			return cmp.Or(cmp.Compare(a.Secret, b.Secret), cmp.Compare(a.Route, b.Route))
		})...)
	}
	return report
}

func rowOf(s vault.SecretStatus, now time.Time) secretRow {
	row := secretRow{
		Secret: s.Secret, Route: s.Route, ID: s.ID, Version: s.Version, Fingerprint: s.Fingerprint, Revised: s.Revised, Changed: s.Changed,
		Expires: s.Expires, Until: s.Until.UTC(), Owner: s.Owner, Uses: s.Uses, LastUsed: s.LastUsed, State: "ok",
	}
	if s.Version != "" {
		row.Confirmed = now.Add(-s.Age).Truncate(time.Millisecond)
	}
	if s.MaxAge != (vault.MaxAge{}) {
		row.MaxAge = &maxAgeRow{s.MaxAge.Warn.Seconds(), s.MaxAge.Stale.Seconds(), s.MaxAge.Refuse.Seconds()}
	}
	rotate := "rotate it"
	if !s.Until.IsZero() {
		rotate += " before " + s.Until.UTC().Format(time.RFC3339)
	}
	switch {
	case s.Err != nil:
		row.State, row.Reason = "refused", s.Err.Error()
		if e, ok := errors.AsType[*vault.LeaseError](s.Err); ok {
			row.Reason = e.Err.Error() // the row says of which secret
		}
	case s.Staleness == vault.Unconfirmed:
		row.State, row.Reason = "stale", "not confirmed for "+ageText(s.Age)
	case s.Stale:
		row.State, row.Reason = "stale", rotate
	case s.Due != vault.NotDue:
		row.State, row.Reason = "due", rotate
	}
	return row
}

// print is the report for people.
func (r secretsReport) print(w io.Writer) error {
	if len(r.Secrets) == 0 {
		_, err := fmt.Fprintln(w, "no route wears a secret")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SECRET\tROUTE\tREVISED\tFINGERPRINT\tAGE\tLAST USED\tUSES\tOWNER\tEXPIRES\tSTATE")
	for _, s := range r.Secrets {
		since := func(t time.Time) string {
			if t.IsZero() {
				return "-"
			}
			return ageText(r.Time.Sub(t))
		}
		age, used, expires, revised, state := since(s.Changed), "never", "-", "-", s.State
		if s.MaxAge != nil && s.MaxAge.Refuse > 0 && !s.Changed.IsZero() {
			age += " of " + ageText(time.Duration(s.MaxAge.Refuse*float64(time.Second)))
		}
		if !s.LastUsed.IsZero() {
			used = since(s.LastUsed) + " ago"
		}
		if !s.Expires.IsZero() {
			expires = s.Expires.Format(time.DateOnly)
		}
		if !s.Revised.IsZero() {
			revised = s.Revised.Format(time.RFC3339)
		}
		if s.Reason != "" {
			state += ": " + s.Reason
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n",
			s.Secret, s.Route, revised, cmp.Or(s.Fingerprint, "-"), age, used, s.Uses, cmp.Or(s.Owner, "-"), expires, state)
	}
	return table.Flush()
}

// ageText is a length of time in its largest unit, as people say it.
func ageText(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}
