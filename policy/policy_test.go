package policy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/policy"
)

// minute is a deadline for a busy machine.
const minute = time.Minute

// company is the table most tests decide by.
func company() map[string]policy.Role {
	return map[string]policy.Role{
		"dev": {
			Members:     []policy.Member{{Issuer: "corp", Groups: "dev"}},
			Collections: map[string]policy.Methods{"prod/team-dev": {policy.Any}},
		},
		"pay": {
			Members:     []policy.Member{{Issuer: "corp", Groups: "payments", Kind: "human"}},
			Collections: map[string]policy.Methods{"prod/team-pay": {"POST"}},
		},
		"deployer": {
			Members: []policy.Member{{Issuer: "github", Claims: map[string]string{
				"repository": "acme/api", "ref": "refs/heads/main",
			}}},
			Collections: map[string]policy.Methods{"prod/deploy": {policy.Any}},
		},
		"wiki-reader": {Members: []policy.Member{{Issuer: "corp", Anyone: true}}},
	}
}

// engine builds what the test decides by. Its deadline is for a busy machine:
// what a deadline does has a test of its own.
func engine(t testing.TB, rules policy.Rules) *policy.Engine {
	t.Helper()
	if rules.Deadline == 0 {
		rules.Deadline = minute
	}
	e, err := policy.New(t.Context(), rules)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// module writes one file of Rego and returns its path.
func module(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "module.rego")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func alice() policy.IdentityInput {
	return policy.IdentityInput{Issuer: "corp", Subject: "alice", Kind: "human", Groups: []string{"dev"}}
}

func request(method string) policy.RequestInput {
	return policy.RequestInput{Method: method, Host: "app.gw.test", Path: "/v1/things", ClientIP: "192.0.2.1"}
}

func route(secrets ...string) policy.RouteInput {
	return policy.RouteInput{Name: "app", Secrets: secrets}
}

func decide(t testing.TB, e *policy.Engine, in policy.Input) policy.Decision {
	t.Helper()
	d, err := e.Decide(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func firstWord(reason string) string {
	word, _, _ := strings.Cut(reason, ":")
	return word
}
