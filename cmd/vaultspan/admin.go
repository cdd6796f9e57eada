package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/vaultspan/vaultspan/proxy"
)

// admin serves health and metrics. It has a listener of its own, so that no
// route can lead to it and callers cannot reach it.
func (s *server) admin(i *instance, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		state := s.readiness(i)
		ready := state.Ready
		if route := r.URL.Query().Get("route"); route != "" {
			reason, known := state.Routes[route]
			ready = known && ready && reason == "ready"
		}
		w.Header().Set("Content-Type", "application/json")
		if !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.Encode(state)
	})
	mux.Handle("GET /metrics", metrics)
	return mux
}

// readiness is the body of /readyz: what is missing, by dependency and route.
// The gateway is ready when it can record and at least one route can serve: one
// dead issuer or vault must not take the routes that do without it out of
// rotation. /readyz?route=NAME asks for one route.
type readiness struct {
	Ready   bool              `json:"ready"`
	Config  string            `json:"config"`
	Audit   string            `json:"audit"`
	Issuers map[string]string `json:"issuers"`
	Vaults  map[string]string `json:"vaults"`
	Routes  map[string]string `json:"routes"`
}

// readiness looks at every dependency now.
func (s *server) readiness(i *instance) readiness {
	p := i.serving.Load()
	state := readiness{Config: "ready", Audit: "ready", Issuers: map[string]string{}, Vaults: map[string]string{}, Routes: map[string]string{}}
	if text := s.reloadError.Load(); text != nil {
		state.Config = "the file on disk is refused, the last good one is served: " + *text
	}
	if err := i.log.Err(); err != nil {
		state.Audit = err.Error()
	}
	anyIssuer := false
	for _, status := range p.authenticator.Status() {
		state.Issuers[status.Name] = "ready"
		if !status.Ready {
			state.Issuers[status.Name] = status.Reason
		}
		anyIssuer = anyIssuer || status.Ready
	}
	for name, v := range p.vaults {
		state.Vaults[name] = "ready"
		if status := v.Status(); status.Err != nil {
			state.Vaults[name] = status.Err.Error()
		}
	}
	anyRoute := false
	for _, r := range p.config.Routes {
		state.Routes[r.Name] = p.routeState(r, anyIssuer)
		anyRoute = anyRoute || state.Routes[r.Name] == "ready"
	}
	state.Ready = anyRoute && state.Audit == "ready" && !i.gateway.Draining()
	return state
}

// routeState says what one route is waiting for, or "ready".
func (p *parts) routeState(r proxy.Route, anyIssuer bool) string {
	var missing []string
	for _, secret := range r.Candidates() {
		name, _, _ := strings.Cut(secret, "/")
		if v := p.vaults[name]; v == nil {
			missing = append(missing, "vault "+name+" is not configured")
		} else if err := v.Ready(secret); err != nil {
			missing = append(missing, err.Error())
		}
	}
	if !r.Allow.Open() && !anyIssuer {
		missing = append(missing, "no issuer can be reached")
	}
	if len(missing) == 0 {
		return "ready"
	}
	slices.Sort(missing)
	return strings.Join(missing, "; ")
}
