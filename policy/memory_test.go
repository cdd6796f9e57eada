package policy_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/vaultspan/vaultspan/policy"
)

// vary changes one thing, so that the next input differs in a field that the
// policy reads, or in one that it does not.
func (r random) vary(in policy.Input) policy.Input {
	other := r.input()
	for _, change := range []func(){
		func() { in.Identity.Issuer = other.Identity.Issuer },
		func() { in.Identity.Subject = other.Identity.Subject },
		func() { in.Identity.Kind = other.Identity.Kind },
		func() { in.Identity.Email = other.Identity.Email },
		func() { in.Identity.Groups = other.Identity.Groups },
		func() { in.Identity.Roles = other.Identity.Roles },
		func() { in.Identity.Claims = other.Identity.Claims },
		func() { in.Identity.Actors = other.Identity.Actors },
		func() { in.Route.Name = other.Route.Name },
		func() { in.Route.Secrets = other.Route.Secrets },
		func() { in.Route.Allow = other.Route.Allow },
		func() { in.Route.Tags = other.Route.Tags },
		func() { in.Request.Method = other.Request.Method },
		func() { in.Request.Host = other.Request.Host },
		func() { in.Request.Path = other.Request.Path },
		func() { in.Request.Query = other.Request.Query },
		func() { in.Request.ClientIP = other.Request.ClientIP },
	}[r.IntN(17):][:1] {
		change()
	}
	return in
}

// agree decides n related inputs with and without memory, and returns how many
// answers were remembered.
func agree(t *testing.T, e *policy.Engine, r random, n int, text string) (remembered int) {
	t.Helper()
	forgetful, in := e.Forgetful(), r.input()
	for range n {
		got, gotErr := e.Decide(t.Context(), in)
		want, wantErr := forgetful.Decide(t.Context(), in)
		if got.Cached {
			remembered++
		}
		got.Cached = false
		if got != want || (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("with memory    %+v, %v\nwithout memory %+v, %v\ninput %+v\npolicy\n%s", got, gotErr, want, wantErr, in, text)
		}
		in = r.vary(in)
	}
	return remembered
}

func TestRememberedAnswersAreTheAnswers(t *testing.T) {
	remembered, policies := 0, 150
	if testing.Short() {
		policies = 30
	}
	for seed := range uint64(policies) {
		r := random{rand.New(rand.NewPCG(seed, 2))}
		bytes := make([]byte, 64)
		for i := range bytes {
			bytes[i] = byte(r.Uint32())
		}
		g := &grammar{dice: &dice{bytes}}
		text := g.policy()
		e, err := policy.New(t.Context(), policy.Rules{Roles: r.roles(), Config: policy.Config{Replace: module(t, text)}, Deadline: minute})
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		remembered += agree(t, e, r, 60, text)
	}
	if remembered < policies {
		t.Errorf("%d answers were remembered over %d policies: nothing was tested", remembered, policies)
	}
	t.Logf("%d of %d answers were remembered", remembered, policies*60)
}

func TestTheShippedPolicyRemembersTheAnswers(t *testing.T) {
	remembered := 0
	for seed := range uint64(30) {
		r := random{rand.New(rand.NewPCG(seed, 3))}
		remembered += agree(t, engine(t, policy.Rules{Roles: r.roles()}), r, 200, "rbac.rego")
	}
	if remembered < 1000 {
		t.Errorf("only %d answers were remembered", remembered)
	}
}

func FuzzRememberedAnswersAreTheAnswers(f *testing.F) {
	f.Add([]byte{}, uint64(0))
	f.Add([]byte("some bytes that choose what the policy reads of its input"), uint64(7))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, choices []byte, seed uint64) {
		g := &grammar{dice: &dice{choices}}
		text, file := g.policy(), filepath.Join(dir, "policy.rego")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := random{rand.New(rand.NewPCG(seed, 2))}
		e, err := policy.New(t.Context(), policy.Rules{Config: policy.Config{Replace: file}, Deadline: minute})
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		agree(t, e, r, 40, text)
	})
}

// FuzzDenials: whatever an operator's module says, it compiles or is refused
// with a place, and it never allows what the table does not.
func FuzzDenials(f *testing.F) {
	for _, rules := range []string{
		`reasons contains "x" if input.request.method == "POST"`,
		"reasons contains msg if {\n\tsome g in input.identity.groups\n\tmsg := sprintf(\"%s\", [g])\n}",
		`reasons contains "x" if data.vaultspan.decision.role == "r1" with input.identity.groups as ["g1"]`,
		`reasons contains 7 if not input.identity.claims.p`,
		`reasons contains "x" if http.send({})`,
		"import data.vaultspan\n\ndecision := vaultspan.decision",
	} {
		f.Add("package vaultspan.deny\n\n"+rules+"\n", uint64(1))
	}
	f.Add("package vaultspan\n\ndecision := 1\n", uint64(2))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		file := filepath.Join(dir, "deny.rego")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := random{rand.New(rand.NewPCG(seed, 4))}
		roles := r.roles()
		e, err := policy.New(t.Context(), policy.Rules{Roles: roles, Config: policy.Config{Deny: []string{file}}})
		if err != nil {
			if _, ok := errors.AsType[policy.Problems](err); !ok {
				t.Errorf("not Problems: %v", err)
			}
			return
		}
		in := r.input()
		for range 10 {
			d, err := e.Decide(t.Context(), in)
			allow, role, secret := expected(roles, in)
			if d.Allow && (err != nil || !allow || d.Role != role || d.Secret != secret) {
				t.Fatalf("got %+v, %v where the table says %v %q %q", d, err, allow, role, secret)
			}
			if again, errAgain := e.Decide(t.Context(), in); err == nil && errAgain == nil && (again.Allow != d.Allow || again.Reason != d.Reason) {
				t.Fatalf("got %+v, and then %+v", d, again)
			}
			in = r.vary(in)
		}
	})
}
