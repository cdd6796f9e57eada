package policy_test

import (
	"os"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
)

func TestTheShippedPolicyIsFormatted(t *testing.T) {
	text, err := os.ReadFile("rbac.rego")
	if err != nil {
		t.Fatal(err)
	}
	formatted, err := format.SourceWithOpts("rbac.rego", text, format.Opts{RegoVersion: ast.RegoV1})
	if err != nil {
		t.Fatal(err)
	}
	if string(formatted) != string(text) {
		t.Errorf("rbac.rego is not as opa fmt writes it; want:\n%s", formatted)
	}
}

func TestTheShippedPolicyDeniesByDefault(t *testing.T) { // I06
	text, err := os.ReadFile("rbac.rego")
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range ast.MustParseModule(string(text)).Rules {
		if rule.Default && rule.Head.Name == "decision" {
			if allow := rule.Head.Value.Value.(ast.Object).Get(ast.StringTerm("allow")); !allow.Equal(ast.BooleanTerm(false)) {
				t.Errorf("the default allows: %v", rule)
			}
			return
		}
	}
	t.Error("there is no default decision")
}
