package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/policy"
)

// expected is the table in plain Go: what the shipped policy must answer.
func expected(roles map[string]policy.Role, in policy.Input) (allow bool, role, secret string) {
	var held []string
	for name, r := range roles {
		if slices.ContainsFunc(r.Members, func(m policy.Member) bool { return matches(m, in.Identity) }) &&
			(len(in.Route.Allow) == 0 || slices.Contains(in.Route.Allow, name)) {
			held = append(held, name)
		}
	}
	slices.Sort(held)
	if len(in.Route.Secrets) == 0 {
		if len(in.Route.Allow) == 0 || len(held) == 0 {
			return false, "", ""
		}
		return true, held[0], ""
	}
	for _, secret := range in.Route.Secrets {
		for _, name := range held {
			for collection, methods := range roles[name].Collections {
				rest, ok := strings.CutPrefix(secret, collection+"/")
				if ok && !strings.Contains(rest, "/") && (slices.Contains(methods, policy.Any) || slices.Contains(methods, in.Request.Method)) {
					return true, name, secret
				}
			}
		}
	}
	return false, "", ""
}

func matches(m policy.Member, id policy.IdentityInput) bool {
	either := func(want, have string) bool { return want == "" || want == have }
	if m.Issuer != id.Issuer || !either(m.Subject, id.Subject) || !either(m.Kind, id.Kind) || !either(m.Email, id.Email) {
		return false
	}
	if m.Groups != "" && !slices.Contains(id.Groups, m.Groups) || m.Roles != "" && !slices.Contains(id.Roles, m.Roles) {
		return false
	}
	for path, value := range m.Claims {
		if !slices.Contains(id.Claims[path], value) {
			return false
		}
	}
	return true
}

// random draws from small sets, so that things meet.
type random struct{ *rand.Rand }

func (r random) word(words ...string) string { return words[r.IntN(len(words))] }

func (r random) some(most int, words ...string) []string {
	var list []string
	for range r.IntN(most + 1) {
		list = append(list, r.word(words...))
	}
	return list
}

func (r random) roles() map[string]policy.Role {
	roles := map[string]policy.Role{}
	for i := range 1 + r.IntN(8) {
		role := policy.Role{}
		for range 1 + r.IntN(3) {
			role.Members = append(role.Members, r.member())
		}
		if r.IntN(4) > 0 {
			role.Collections = map[string]policy.Methods{}
			for range 1 + r.IntN(3) {
				methods := policy.Methods{policy.Any}
				if r.IntN(2) == 0 {
					methods = policy.Methods{r.word("GET", "POST")}
				}
				role.Collections[r.word("v/a", "v/b", "w/a", "w/é c")] = methods
			}
		}
		roles[fmt.Sprintf("r%d", i)] = role
	}
	return roles
}

func (r random) member() policy.Member {
	m := policy.Member{Issuer: r.word("corp", "github")}
	for range r.IntN(3) {
		switch r.IntN(6) {
		case 0:
			m.Subject = r.word("s1", "s2")
		case 1:
			m.Kind = r.word("human", "workload")
		case 2:
			m.Email = r.word("e1", "e2")
		case 3:
			m.Groups = r.word("g1", "g2")
		case 4:
			m.Roles = r.word("g1", "g2")
		case 5:
			m.Claims = map[string]string{r.word("p", "q", "p.q"): r.word("g1", "p", "x/../y")}
			if r.IntN(2) == 0 {
				m.Claims[r.word("p", "q")] = r.word("g1", "p")
			}
		}
	}
	alone := policy.Member{Issuer: m.Issuer}
	m.Anyone = fmt.Sprint(m) == fmt.Sprint(alone)
	return m
}

func (r random) input() policy.Input {
	in := policy.Input{
		Identity: policy.IdentityInput{
			Issuer: r.word("corp", "github", ""), Subject: r.word("s1", "s2", "s3"), Kind: r.word("human", "workload", "agent"), Email: r.word("e1", "e2", ""),
			Groups: r.some(3, "g1", "g2", "g3"), Roles: r.some(2, "g1", "g2", "r1"), Actors: r.some(1, "a1"),
		},
		Route: policy.RouteInput{
			Name: r.word("n1", "n2"), Tags: r.some(2, "t1", "t2"),
			Secrets: r.some(3, "v/a/k", "v/b/k", "w/a/k", "w/é c/k", "v/a/b/k", "v/a", "x/y/z"),
			Allow:   r.some(3, "r0", "r1", "r2", "r3", "nobody"),
		},
		Request: policy.RequestInput{
			Method: r.word("GET", "POST", "*", "get"), Host: r.word("h1", "h2"), Path: r.word("/a", "/b/c"), ClientIP: r.word("192.0.2.1", "10.0.0.1"),
		},
	}
	for _, m := range []*map[string][]string{&in.Identity.Claims, &in.Request.Query} {
		for range r.IntN(3) {
			if *m == nil {
				*m = map[string][]string{}
			}
			(*m)[r.word("p", "q", "p.q", "GET")] = r.some(2, "g1", "p", "x/../y", "")
		}
	}
	return in
}

func TestTheTableIsWhatPlainGoSays(t *testing.T) {
	allowed, denied := 0, 0
	for seed := range uint64(60) {
		r := random{rand.New(rand.NewPCG(seed, 1))}
		roles := r.roles()
		e := engine(t, policy.Rules{Roles: roles})
		for range 100 {
			in := r.input()
			allow, role, secret := expected(roles, in)
			if d := decide(t, e, in); d.Allow != allow || d.Role != role || d.Secret != secret {
				t.Fatalf("seed %d\nroles %+v\ninput %+v\ngot %+v\nwant %v %q %q", seed, roles, in, d, allow, role, secret)
			}
			if allow {
				allowed++
			} else {
				denied++
			}
		}
	}
	if allowed < 500 || denied < 500 {
		t.Errorf("%d allowed and %d denied: the draw no longer tests anything", allowed, denied)
	}
}
