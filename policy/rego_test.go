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
