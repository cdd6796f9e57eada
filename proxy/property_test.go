package proxy_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/proxy"
)

// world is one random policy, and what it means, in plain Go.
type world struct {
	roles  map[string]policy.Role
	routes []proxy.Route
}

var methods = []string{"GET", "POST", "PUT", "DELETE"}

// newWorld draws roles over three groups, two collections and four methods, and
// which roles the routes allow.
func newWorld(random *rand.Rand, routes []proxy.Route) world {
	w := world{roles: map[string]policy.Role{}, routes: slices.Clone(routes)}
	var names []string
	for i := range 1 + random.IntN(5) {
		role := policy.Role{Collections: map[string]policy.Methods{}}
		for range 1 + random.IntN(2) {
			role.Members = append(role.Members, policy.Member{Issuer: "idp", Groups: fmt.Sprintf("g%d", random.IntN(3))})
		}
		for _, collection := range []string{"prod/team-dev", "prod/team-pay"} {
			switch random.IntN(3) {
			case 0:
				role.Collections[collection] = policy.Methods{policy.Any}
			case 1:
				for _, i := range random.Perm(len(methods))[:1+random.IntN(3)] {
					role.Collections[collection] = append(role.Collections[collection], methods[i])
				}
			}
		}
		name := fmt.Sprintf("r%d", i)
		if len(role.Collections) == 0 {
			continue
		}
		names = append(names, name)
		w.roles[name] = role
	}
	for i := range w.routes {
		w.routes[i].Methods = methods
		if w.routes[i].Secret != "" && len(names) > 0 && random.IntN(3) == 0 {
			w.routes[i].Allow = proxy.Allow{names[random.IntN(len(names))]}
		}
	}
	return w
}

// allows is the oracle.
func (w world) allows(groups []string, route proxy.Route, method string) bool {
	collection := map[string]string{"prod/team-dev/U1_KEY": "prod/team-dev", "prod/team-pay/U2_KEY": "prod/team-pay"}[route.Secret]
	for name, role := range w.roles {
		member := slices.ContainsFunc(role.Members, func(m policy.Member) bool { return slices.Contains(groups, m.Groups) })
		reaches := slices.Contains(role.Collections[collection], policy.Any) || slices.Contains(role.Collections[collection], method)
		if member && reaches && (route.Allow == nil || slices.Contains(route.Allow, name)) {
			return true
		}
	}
	return false
}

// expectation is one request, and the credential that it may bring upstream.
type expectation struct {
	header, value string // the place and the credential; empty when it may not arrive at all
}

// Over random policies, identities and requests, an upstream never receives a
// credential that the decision for that very request did not grant, and an
// intent exists for those that it receives and for no others.
func TestNoCredentialWithoutADecision(t *testing.T) {
	seed := uint64(0x5eed)
	random := rand.New(rand.NewPCG(seed, 1))
	b := newBench(t)
	var expected sync.Map // the number of a request → its expectation
	var arrived sync.Map
	judge := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		number := r.Header.Get("X-Case")
		e, ok := expected.Load(number)
		if !ok {
			t.Errorf("case %s arrived, and was never sent", number)
			return
		}
		want := e.(expectation)
		got := expectation{}
		for _, header := range []string{"Authorization", "X-Api-Key"} {
			if values := r.Header[header]; len(values) == 1 && got == (expectation{}) {
				got = expectation{header, values[0]}
			} else if len(values) > 0 {
				t.Errorf("case %s arrived with %v", number, r.Header)
			}
		}
		if got != want || want == (expectation{}) {
			t.Errorf("seed %#x, case %s arrived with %+v, granted %+v", seed, number, got, want)
		}
		arrived.Store(number, true)
	}
	b.u1.handler, b.u2.handler = judge, judge
	carries := map[string]expectation{"R1": {"Authorization", "Bearer " + canary1}, "R2": {"X-Api-Key", canary2}, "R7": {"Authorization", "Bearer " + canary1}}
	tokens := map[int]string{} // by the bits of the groups
	for bits := range 8 {
		claims := b.idp.Claims("alice")
		claims["sub"] = fmt.Sprintf("person-%d", bits)
		claims["groups"] = groupsOf(bits)
		token, err := b.idp.Mint(claims, nil)
		if err != nil {
			t.Fatal(err)
		}
		tokens[bits] = token
	}
	client := b.client()
	defer client.CloseIdleConnections()
	allowed, sent := 0, 0
	for range 12 {
		w := newWorld(random, b.settings.Routes)
		engine, err := policy.New(t.Context(), policy.Rules{Roles: w.roles, Deadline: patience})
		if err != nil {
			t.Fatal(err)
		}
		settings := b.settings
		settings.Routes, settings.Policy = w.routes, engine
		if err := b.gateway.Swap(settings); err != nil {
			t.Fatal(err)
		}
		var requests sync.WaitGroup
		slots := make(chan struct{}, 32)
		for range 250 {
			sent++
			bits, method := random.IntN(8), methods[random.IntN(len(methods))]
			route := w.routes[[]int{0, 1, 4}[random.IntN(3)]]
			number, status, want := strconv.Itoa(sent), 403, expectation{}
			if w.allows(groupsOf(bits), route, method) {
				allowed++
				status, want = 200, carries[route.Name]
			}
			expected.Store(number, want)
			url := []string{"http://", "https://"}[random.IntN(2)] + route.Match[0] + number
			slots <- struct{}{}
			requests.Go(func() {
				defer func() { <-slots }()
				if err := sendsCase(client, method, url, tokens[bits], number, status); err != nil {
					t.Errorf("seed %#x: groups %v, allow %v, roles %v: %v", seed, groupsOf(bits), route.Allow, w.roles, err)
				}
			})
		}
		requests.Wait()
	}
	count := 0
	arrived.Range(func(any, any) bool { count++; return true })
	if count != allowed || allowed < sent/10 || allowed > sent*9/10 {
		t.Errorf("of %d requests %d were allowed and %d arrived", sent, allowed, count)
	}
	intents := 0
	for _, e := range b.records(t) {
		if e.Kind == audit.KindIntent {
			intents++
		}
	}
	if intents != count {
		t.Errorf("%d intents for %d attempts", intents, count)
	}
}

func groupsOf(bits int) []string {
	var groups []string
	for i := range 3 {
		if bits>>i&1 == 1 {
			groups = append(groups, fmt.Sprintf("g%d", i))
		}
	}
	return groups
}

func sendsCase(client *http.Client, method, url, token, number string, status int) error {
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("X-Case", number)
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != status {
		return fmt.Errorf("%s %s: %d %s, want %d (%v)", method, url, res.StatusCode, body, status, err)
	}
	return nil
}
