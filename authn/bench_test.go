package authn_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vaultspan/vaultspan/authn"
)

func BenchmarkBearer(b *testing.B) {
	p := newIDP(b, public("rsa", rsaKey()), public("ec", ecKey()))
	a := start(b, authn.Config{Issuers: []authn.IssuerConfig{p.config("corp")}})
	claims := p.claims(time.Now(), map[string]any{
		"groups": []string{"payments", "dev", "on-call"}, "email": "alice@corp.test", "pad": strings.Repeat("x", 250),
	})
	for _, c := range []struct {
		alg jose.SignatureAlgorithm
		key any
		kid string
	}{{jose.RS256, rsaKey(), "rsa"}, {jose.ES256, ecKey(), "ec"}} {
		b.Run(string(c.alg)+"/miss", func(b *testing.B) {
			tokens := make([]string, 4096)
			for n := range tokens {
				claims["jti"] = fmt.Sprint(b.N, n)
				tokens[n] = mint(b, c.alg, c.key, c.kid, "at+jwt", claims)
			}
			var fresh *authn.Authenticator
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if n%len(tokens) == 0 { // a new memory: every token is a miss
					b.StopTimer()
					fresh = start(b, authn.Config{Issuers: []authn.IssuerConfig{p.config("corp")}, Previous: a})
					if n == 0 {
						reason(b, a, tokens[0])
						fresh = start(b, authn.Config{Issuers: []authn.IssuerConfig{p.config("corp")}, Previous: a})
					}
					b.StartTimer()
				}
				if _, err := fresh.Bearer(b.Context(), tokens[n%len(tokens)]); err != nil {
					b.Fatal(err)
				}
				n++
			}
		})
	}
	token := mint(b, jose.RS256, rsaKey(), "rsa", "at+jwt", claims)
	b.Run(fmt.Sprintf("hit/%dB", len(token)), func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.Bearer(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("hit/parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := a.Bearer(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}
