package proxy_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/authn/devidp"
	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

// What the isolation test is made of. Person n is in team n%teams, and route n
// wears secret n of team n%teams; the last upstream takes the caller's own.
const (
	isolatedRoutes = 50
	isolatedPeople = 200
	isolatedTeams  = 5
)

var isolatedRequests = flag.Int("isolation", 2000, "how many requests TestCredentialsDoNotMix makes")

// patient lets a slow machine be slow.
var patient = proxy.Timeouts{Connect: patience, Response: patience}

// isolated is a bench with an upstream for each route. Each fails the test when
// what it is sent is not its own, or not the caller's own.
func isolated(t *testing.T, served *atomic.Int64) *bench {
	return newBench(t, func(b *bench, routes []proxy.Route) []proxy.Route {
		var people []devidp.Person
		for n := range isolatedPeople {
			people = append(people, devidp.Person{
				Subject: fmt.Sprintf("person|%d", n), Email: fmt.Sprintf("%d@example.com", n), Groups: []string{fmt.Sprintf("team-%d", n%isolatedTeams)},
			})
		}
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		idp, err := devidp.Start(ctx, devidp.Config{People: people, Clients: []devidp.Client{{ID: "cli", RedirectURIs: []string{"http://127.0.0.1/callback"}}}})
		if err != nil {
			t.Fatal(err)
		}
		b.idp, b.refresh = idp, 10*time.Second
		b.roles["person"] = policy.Role{Members: []policy.Member{{Issuer: "idp", Anyone: true}}, Collections: map[string]policy.Methods{"prod/people": {policy.Any}}}
		for n := range isolatedTeams {
			name := fmt.Sprintf("team-%d", n)
			b.projects = append(b.projects, b.organization.AddProject(name))
			b.roles[name] = policy.Role{Members: []policy.Member{{Issuer: "idp", Groups: name}}, Collections: map[string]policy.Methods{"prod/" + name: {policy.Any}}}
		}
		for n := range isolatedRoutes {
			team := n % isolatedTeams
			b.organization.AddSecret(fmt.Sprintf("KEY_%d", n), fmt.Sprintf("CANARY-route-%d", n), "", b.projects[2+team])
			upstream := serve(t, func(r *http.Request) (got, want string) {
				served.Add(1)
				return r.Header.Get("Authorization"), fmt.Sprintf("Bearer CANARY-route-%d", n)
			})
			routes = append(routes, proxy.Route{
				Name: fmt.Sprintf("iso-%d", n), Match: []string{fmt.Sprintf("gw.test/iso/%d/", n)}, Upstream: upstream,
				Secret: fmt.Sprintf("prod/team-%d/KEY_%d", team, n), Inject: vault.Bearer(), Timeouts: patient,
			})
		}
		own := b.organization.AddProject("people")
		b.projects = append(b.projects, own)
		for n := range isolatedPeople {
			b.organization.AddSecret(fmt.Sprintf("own-person%%7C%d", n), fmt.Sprintf("CANARY-person-%d", n), "", own)
		}
		return append(routes, proxy.Route{
			Name: "own", Match: []string{"gw.test/own/"}, Secret: "prod/people/own-{subject}", Inject: vault.Bearer(), Timeouts: patient,
			Upstream: serve(t, func(r *http.Request) (got, want string) {
				served.Add(1)
				return r.Header.Get("Authorization"), "Bearer CANARY-person-" + r.Header.Get("X-Person")
			}),
		})
	})
}

// serve is the URL of an upstream that wants what it gets.
func serve(t *testing.T, credential func(*http.Request) (got, want string)) string {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if got, want := credential(r); got != want {
			t.Errorf("%s arrived with %q, want %q", r.URL.Path, got, want)
		}
		for name, values := range r.Header { // nor anywhere else, nor the caller's token
			if name != "Authorization" && slices.ContainsFunc(values, func(v string) bool { return len(v) > 100 }) {
				t.Errorf("%s arrived with a long %s", r.URL.Path, name)
			}
		}
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL
}

// Promise 7: requests (2,000, or as many as -isolation says), 500 at a time, of 200
// people over 50 routes with a secret each, and one with a secret for each person.
// Every upstream sees exactly its own credential, and of a person's own exactly
// that person's.
func TestCredentialsDoNotMix(t *testing.T) {
	var served atomic.Int64
	b := isolated(t, &served)
	client := b.client()
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = 500
	defer client.CloseIdleConnections()
	var tokens [isolatedPeople]string
	for n := range tokens {
		tokens[n] = b.token(t, fmt.Sprintf("person|%d", n))
	}
	ask := func(person int, path string) (status int, body string, err error) {
		r, err := http.NewRequest("GET", "http://gw.test"+path, nil)
		if err != nil {
			return 0, "", err
		}
		r.Header.Set("Authorization", "Bearer "+tokens[person])
		r.Header.Set("X-Person", strconv.Itoa(person))
		res, err := client.Do(r)
		if err != nil {
			return 0, "", err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		return res.StatusCode, string(text), err
	}
	// Each first use of 200 people at once: those whose turn is late try again.
	var first sync.WaitGroup
	for person := range isolatedPeople {
		first.Go(func() {
			for {
				status, body, err := ask(person, "/own/x")
				if status == 200 {
					return
				}
				if err != nil || status != 503 {
					t.Errorf("first use by person %d: %d %s, %v", person, status, body, err)
					return
				}
			}
		})
	}
	first.Wait()
	before := served.Load()

	var callers sync.WaitGroup
	var granted atomic.Int64
	slots := make(chan struct{}, 500)
	for i := range *isolatedRequests {
		slots <- struct{}{}
		callers.Go(func() {
			defer func() { <-slots }()
			person, route := (i/4*7+i)%isolatedPeople, i/4%isolatedRoutes
			path, want := fmt.Sprintf("/iso/%d/x", route), 403
			switch {
			case i%4 == 0:
				path, want = "/own/x", 200
			case i%4 < 3: // who may; the others are of another team
				person = person - person%isolatedTeams + route%isolatedTeams
				want = 200
			}
			status, body, err := ask(person, path)
			if err != nil || status != want {
				t.Errorf("person %d at %s: %d %s, want %d (%v)", person, path, status, body, want, err)
			}
			if want == 200 {
				granted.Add(1)
			}
		})
	}
	callers.Wait()
	if got := served.Load() - before; got != granted.Load() || got != int64(*isolatedRequests-*isolatedRequests/4) {
		t.Errorf("%d requests were served, %d granted", got, granted.Load())
	}
	client.CloseIdleConnections()
	for _, e := range b.records(t) { // who is recorded with a person's secret is that person
		if n, own := audited(e); own && e.Subject != "person|"+n {
			t.Errorf("%s was recorded with %s", e.Subject, e.Secret)
		}
	}
}

// audited is the number of the person whose own secret an event names.
func audited(e audit.Event) (n string, own bool) {
	const prefix = "prod/people/own-person%7C"
	if e.Subject == "" || len(e.Secret) <= len(prefix) || e.Secret[:len(prefix)] != prefix {
		return "", false
	}
	return e.Secret[len(prefix):], true
}
