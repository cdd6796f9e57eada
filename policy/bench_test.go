package policy_test

import (
	"fmt"
	"testing"

	"github.com/vaultspan/vaultspan/policy"
)

// crowd is n roles of five members each, and a caller who has three of them.
func crowd(n int) (map[string]policy.Role, policy.Input) {
	roles := map[string]policy.Role{}
	for i := range n {
		role := policy.Role{Collections: map[string]policy.Methods{
			fmt.Sprintf("prod/c%d", i):        {"GET", "POST"},
			fmt.Sprintf("prod/shared%d", i%7): {policy.Any},
		}}
		for j := range 5 {
			role.Members = append(role.Members, policy.Member{Issuer: "corp", Groups: fmt.Sprintf("g%d-%d", i, j), Kind: "human"})
		}
		roles[fmt.Sprintf("role%d", i)] = role
	}
	in := policy.Input{
		Identity: policy.IdentityInput{Issuer: "corp", Subject: "8f14e45f-ceea-467f-a0e6-5b1c2d3e4f50", Kind: "human", Email: "alice@example.com",
			Groups: []string{"everyone", "g3-1", "g5-2", "g8-0", "office-berlin"}},
		Route:   policy.RouteInput{Name: "stripe", Secrets: []string{"prod/c5/STRIPE_API_KEY"}},
		Request: request("POST"),
	}
	return roles, in
}

func BenchmarkHit(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("roles=%d", n), func(b *testing.B) {
			roles, in := crowd(n)
			e := engine(b, policy.Rules{Roles: roles})
			decide(b, e, in)
			b.ReportAllocs()
			for b.Loop() {
				if d, err := e.Decide(b.Context(), in); err != nil || !d.Cached {
					b.Fatal(d, err)
				}
			}
		})
	}
}

func BenchmarkHitParallel(b *testing.B) {
	roles, in := crowd(100)
	e := engine(b, policy.Rules{Roles: roles})
	decide(b, e, in)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if d, err := e.Decide(b.Context(), in); err != nil || !d.Cached {
				b.Fatal(d, err)
			}
		}
	})
}

func BenchmarkMiss(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("roles=%d", n), func(b *testing.B) {
			roles, in := crowd(n)
			e := engine(b, policy.Rules{Roles: roles}).Forgetful()
			b.ReportAllocs()
			for b.Loop() {
				if d, err := e.Decide(b.Context(), in); err != nil || !d.Allow {
					b.Fatal(d, err)
				}
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	roles, _ := crowd(1000)
	for b.Loop() {
		engine(b, policy.Rules{Roles: roles})
	}
}
