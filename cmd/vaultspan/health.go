package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vaultspan/vaultspan/config"
)

func (p *program) healthCommand() *cobra.Command {
	h := &healthQuestion{}
	var path string
	c := &cobra.Command{
		Use:   "health",
		Short: "Ask a running gateway whether it is well",
		Long: `Ask the admin listener of the gateway on this machine, and print what it says.
Exit status 0 if all is well, 1 if not or if nobody answers.

The question is whether the process serves at all (/healthz): restart it if not.
With --ready it is whether requests can be answered now (/readyz), and what is
missing if not: send no callers, but do not restart. An issuer or a vault that
is down comes back by itself, and a restart would lose the secrets held.

The address is admin.listen of the configuration; problems of the rest of the
file do not matter. This is the HEALTHCHECK of the image, which has no shell.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if h.address == "" {
				address, err := adminAddress(path, p.getenv)
				if err != nil {
					return err
				}
				h.address = address
			}
			answer, err := h.ask(c.Context())
			if err == nil {
				fmt.Fprintln(p.stdout, answer)
			}
			return err
		},
	}
	configFlag(c, &path)
	c.Flags().StringVar(&h.address, "address", "", "ask this `host:port` instead of reading the configuration")
	c.Flags().BoolVar(&h.ready, "ready", false, "ask whether requests can be answered now")
	c.Flags().StringVar(&h.route, "route", "", "ask whether this `route` can answer; implies --ready")
	c.Flags().DurationVar(&h.timeout, "timeout", 2*time.Second, "how long to wait for the answer")
	c.MarkFlagsMutuallyExclusive("config", "address")
	return c
}

// adminAddress is where the gateway of a configuration listens for operators.
// The gateway may well serve an older, good one: problems elsewhere in the file
// are not its death.
func adminAddress(path string, getenv func(string) string) (string, error) {
	cfg, err := config.Load(path, getenv)
	if cfg == nil {
		return "", fmt.Errorf("the address is not known, give --address: %w", err)
	}
	if _, port, err := net.SplitHostPort(cfg.Admin.Listen); err != nil || port == "0" {
		return "", fmt.Errorf("admin.listen of %s does not tell the port: give --address", path)
	}
	return cfg.Admin.Listen, nil
}

// healthQuestion is what to ask of whom.
type healthQuestion struct {
	address string // host:port; no host, or 0.0.0.0, is this machine
	ready   bool
	route   string
	timeout time.Duration
}

// ask returns the gateway's answer, or says what is wrong with it. It goes to
// that address and nowhere else: by no proxy, following no redirect.
func (h *healthQuestion) ask(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	target := url.URL{Scheme: "http", Host: "gateway", Path: "/healthz"}
	if h.ready || h.route != "" {
		target.Path = "/readyz"
		target.RawQuery = url.Values{"route": {h.route}}.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return "", err
	}
	response, err := (&http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", h.address)
		},
	}).RoundTrip(request)
	if err != nil {
		return "", fmt.Errorf("asking the gateway's admin listener %s: %w", h.address, cmp.Or(context.Cause(ctx), err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("reading the gateway's answer: %w", err)
	}
	if target.Path == "/healthz" {
		if response.StatusCode != http.StatusOK || string(body) != "ok\n" {
			return "", fmt.Errorf("%s is not the gateway's admin listener: status %d", h.address, response.StatusCode)
		}
		return "ok", nil
	}
	var state readiness
	if err := json.Unmarshal(body, &state); err != nil {
		return "", fmt.Errorf("%s is not the gateway's admin listener: status %d", h.address, response.StatusCode)
	}
	missing := strings.Join(state.missing(h.route), "\n  ")
	switch {
	case response.StatusCode != http.StatusOK:
		return "", errors.New("not ready:\n  " + cmp.Or(missing, "draining"))
	case missing != "":
		return "ready, but for:\n  " + missing, nil
	}
	return "ready", nil
}

// missing says what is not ready, a line each. Of the routes it tells about
// route alone, if that is not "".
func (r readiness) missing(route string) []string {
	states := map[string]string{"config": r.Config, "audit": r.Audit}
	for name, state := range r.Issuers {
		states["issuer "+name] = state
	}
	for name, state := range r.Vaults {
		states["vault "+name] = state
	}
	if route != "" {
		states["route "+route] = cmp.Or(r.Routes[route], "there is no such route")
	} else {
		for name, state := range r.Routes {
			states["route "+name] = state
		}
	}
	var lines []string
	for _, what := range slices.Sorted(maps.Keys(states)) {
		if states[what] != "ready" {
			lines = append(lines, what+": "+states[what])
		}
	}
	return lines
}
