package policy_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/vaultspan/vaultspan/policy"
)

// refusedAt builds an engine that must not be built, and wants a problem at the
// line and column of the module that says what.
func refusedAt(t *testing.T, rules policy.Rules, file string, line, col int, what string) {
	t.Helper()
	_, err := policy.New(t.Context(), rules)
	problems, ok := errors.AsType[policy.Problems](err)
	if !ok {
		t.Fatalf("got %v, want Problems", err)
	}
	for _, p := range problems {
		if p.File == file && p.Line == line && p.Col == col && strings.Contains(p.Text, what) {
			return
		}
	}
	t.Errorf("got\n%v\nwant %s:%d:%d: … %s", err, file, line, col, what)
}

func TestWhatADenyMayNotBe(t *testing.T) {
	for _, test := range []struct {
		id, name, text string
		line, col      int
		what           string
	}{
		{id: "I07", name: "http.send", text: `reasons contains "x" if http.send({"method": "get", "url": input.request.path}).status_code == 200`, line: 3, col: 25, what: "http.send is not allowed"},
		{id: "I07", name: "with http.send as", text: `reasons contains "x" if count(input.route.tags) == 1 with http.send as 3`, line: 3, col: 59, what: "http.send is not allowed"},
		{id: "I07", name: "with a builtin as http.send", text: `reasons contains "x" if count(input.route.tags) == 1 with count as http.send`, line: 3, col: 68, what: "http.send is not allowed"},
		{id: "I07", name: "http.send in a template", text: `reasons contains $"{http.send({})}"`, line: 3, col: 21, what: "http.send is not allowed"},
		{id: "I07", name: "http.send in a head", text: `reasons contains http.send({}).body`, line: 3, col: 18, what: "http.send is not allowed"},
		{id: "I07", name: "http.send in an argument", text: `reasons contains "x" if count(http.send({})) == 1`, line: 3, col: 31, what: "http.send is not allowed"},
		{id: "I08", name: "net.lookup_ip_addr", text: `reasons contains "x" if net.lookup_ip_addr(input.request.host)`, line: 3, col: 25, what: "net.lookup_ip_addr is not allowed"},
		{id: "I08", name: "opa.runtime", text: `reasons contains x if some x in opa.runtime().env`, line: 3, col: 33, what: "opa.runtime is not allowed"},
		{id: "I08", name: "rego.parse_module", text: `reasons contains x if x := rego.parse_module("a", "b")`, line: 3, col: 28, what: "rego.parse_module is not allowed"},
		{id: "I08", name: "print", text: `reasons contains "x" if print(input)`, line: 3, col: 25, what: "print is not allowed"},
		{id: "I08", name: "trace", text: `reasons contains "x" if trace("x")`, line: 3, col: 25, what: "trace is not allowed"},
		{id: "I08", name: "io.jwt.encode_sign", text: `reasons contains x if x := io.jwt.encode_sign({}, {}, {})`, line: 3, col: 28, what: "io.jwt.encode_sign is not allowed"},
		{id: "I08", name: "crypto.x509", text: `reasons contains x if x := crypto.x509.parse_and_verify_certificates(input.request.path)`, line: 3, col: 28, what: "is not allowed"},
		{id: "I08", name: "rand.intn", text: `reasons contains "x" if rand.intn("x", 2) == 1`, line: 3, col: 25, what: "rand.intn is not allowed"},
		{id: "I08", name: "uuid.rfc4122", text: `reasons contains uuid.rfc4122("x")`, line: 3, col: 18, what: "uuid.rfc4122 is not allowed"},
		{name: "an unknown function", text: `reasons contains "x" if lowre(input.route.name) == "x"`, line: 3, col: 25, what: "undefined function lowre"},

		{name: "a misspelt field", text: `reasons contains "x" if input.identity.grops[_] == "x"`, line: 3, col: 25, what: `want (one of): ["actors" "claims" "email" "groups"`},
		{name: "a misspelt field through a variable", text: "reasons contains \"x\" if {\n\tid := input.identity\n\tid.grops[_] == \"x\"\n}", line: 5, col: 2, what: "undefined ref: id.grops"},
		{name: "a misspelt field inside not", text: `reasons contains "x" if not input.identity.emial`, line: 3, col: 29, what: "undefined ref: input.identity.emial"},
		{name: "a misspelt section", text: `reasons contains "x" if input.requests.method == "x"`, line: 3, col: 25, what: "undefined ref"},
		{name: "a header, which is no input", text: `reasons contains "x" if input.request.headers["x"]`, line: 3, col: 25, what: "undefined ref"},
		{name: "a string compared with a number", text: `reasons contains "x" if input.identity.email == 3`, line: 3, col: 25, what: "left  : string; right : number"},
		{name: "a list taken for a string", text: `reasons contains "x" if lower(input.identity.groups) == "x"`, line: 3, col: 25, what: "array[string]"},
		{name: "data that nothing defines", text: `reasons contains "x" if not data.limits.office`, line: 3, col: 29, what: "undefined ref: data.limits.office"},
		{name: "a rule that the policy lacks", text: `reasons contains "x" if not data.vaultspan.rols`, line: 3, col: 29, what: "undefined ref: data.vaultspan.rols"},

		{name: "a misspelt reasons", text: `reason contains "x"`, line: 3, col: 1, what: "rule reason is not used by reasons"},
		{name: "the habit of other gateways", text: "reasons contains \"x\" if input.route.name == \"x\"\n\ndeny contains \"y\"", line: 5, col: 1, what: "rule deny is not used"},
		{name: "an allow", text: "reasons contains \"x\" if input.route.name == \"x\"\n\nallow := true", line: 5, col: 1, what: "rule allow is not used"},
		{name: "reasons as a value", text: `reasons := {"x"}`, line: 3, col: 1, what: "reasons contains msg"},
		{name: "reasons as an object", text: `reasons[x] := 1 if some x in ["x"]`, line: 3, col: 1, what: "reasons contains msg"},
		{name: "reasons as a path", text: `reasons.mine contains "x"`, line: 3, col: 1, what: "reasons contains msg"},
		{name: "reasons as a function", text: `reasons(x) := {x}`, line: 3, col: 1, what: "reasons contains msg"},

		{name: "a syntax error", text: `reasons contains x if { x := 1 y := 2 }`, line: 3, col: 32, what: "unexpected identifier"},
		{name: "an unused variable", text: `reasons contains "x" if unused := 2`, line: 3, col: 25, what: "unused"},
		{name: "an unsafe variable", text: `reasons contains "x" if not y`, line: 3, col: 25, what: "y is unsafe"},
		{name: "input shadowed", text: `reasons contains input if input := "x"`, line: 3, col: 27, what: "input"},
		{name: "recursion", text: "reasons contains x if x := a\n\na := b\n\nb := a", line: 5, col: 1, what: "recursive"},
	} {
		t.Run(test.id+" "+test.name, func(t *testing.T) {
			file := module(t, "package vaultspan.deny\n\n"+test.text+"\n")
			refusedAt(t, policy.Rules{Roles: company(), Config: policy.Config{Deny: []string{file}}}, file, test.line, test.col, test.what)
		})
	}
}

func TestAModuleStaysInItsPackage(t *testing.T) {
	for _, test := range []struct {
		pkg, as string
		what    string // "" is no problem
	}{
		{"vaultspan.deny", "deny", ""},
		{"vaultspan", "deny", "in package vaultspan.deny"},
		{"vaultspan.deny.more", "deny", "in package vaultspan.deny"},
		{"vaultspan.denyx", "deny", "in package vaultspan.deny"},
		{"rbac", "deny", "in package vaultspan.deny"},
		{"system", "deny", "in package vaultspan.deny"},
		{"vaultspan", "replace", ""},
		{"vaultspan.deny", "replace", "denials go to policy.deny"},
		{"rbac", "replace", "in package vaultspan"},
		{"main", "replace", "in package vaultspan"},
	} {
		t.Run(test.pkg+" as "+test.as, func(t *testing.T) {
			rules := map[string]string{
				"deny":    `reasons contains "x"`,
				"replace": `decision := {"allow": false, "reason": "", "role": "", "secret": ""}`,
			}[test.as]
			file := module(t, "package "+test.pkg+"\n\n"+rules+"\n")
			config := policy.Config{Replace: file}
			if test.as == "deny" {
				config = policy.Config{Deny: []string{file}}
			}
			if test.what == "" {
				engine(t, policy.Rules{Roles: company(), Config: config})
				return
			}
			refusedAt(t, policy.Rules{Roles: company(), Config: config}, file, 1, 1, test.what)
		})
	}
}

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	a := write("a.rego", "package vaultspan.deny\n\nreasons contains \"x\" if input.identity.grops\n\nreasons contains \"x\" if http.send({})\n\nreasons contains \"x\" if input.identity.emial\n")
	b := write("b.rego", "package vaultspan.deny\n\nreasons contains \"x\" if input.rout\n")
	_, err := policy.New(t.Context(), policy.Rules{
		Roles:  map[string]policy.Role{"empty": {}},
		Config: policy.Config{Deny: []string{filepath.Join(dir, "*.rego"), filepath.Join(dir, "*.nothing"), filepath.Join(dir, "missing.rego")}},
	})
	for _, want := range []string{
		"roles.empty.members: an empty list grants nothing",
		"*.nothing: matches no file",
		"missing.rego: cannot be read",
		a + ":3:25: undefined ref: input.identity.grops",
		a + ":5:25: http.send is not allowed",
		a + ":7:25: undefined ref: input.identity.emial",
		b + ":3:25: undefined ref: input.rout",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing from\n%v", want, err)
		}
	}
	if p, ok := errors.AsType[policy.Problem](err); !ok || p.Text == "" {
		t.Errorf("errors.As finds no Problem in %v", err)
	}
}

// TestManyProblemsAreNotCutShort: OPA stops at ten unless told.
func TestManyProblemsAreNotCutShort(t *testing.T) {
	var text strings.Builder
	text.WriteString("package vaultspan.deny\n")
	for i := range 25 {
		fmt.Fprintf(&text, "\nreasons contains \"x\" if input.identity.typo%d\n", i)
	}
	_, err := policy.New(t.Context(), policy.Rules{Config: policy.Config{Deny: []string{module(t, text.String())}}})
	if problems, _ := errors.AsType[policy.Problems](err); len(problems) != 25 {
		t.Errorf("%d problems, want 25:\n%v", len(problems), err)
	}
}

func TestAPolicyThatDecidesNothing(t *testing.T) {
	file := module(t, "package vaultspan\n\nallow := true\n")
	refusedAt(t, policy.Rules{Config: policy.Config{Replace: file}}, file, 0, 0, "no module defines decision")
	file = module(t, "package vaultspan\n\ndecision(x) := x\n")
	if _, err := policy.New(t.Context(), policy.Rules{Config: policy.Config{Replace: file}}); err == nil {
		t.Error("a function is taken for a decision")
	}
}

// TestAReplacementMayBeADirectory, read whole, but for tests and hidden files.
func TestAReplacementMayBeADirectory(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"decision.rego":      "package vaultspan\n\ndecision := {\"allow\": false, \"reason\": data.vaultspan.lib.word, \"role\": \"\", \"secret\": \"\"}\n",
		"lib/word.rego":      "package vaultspan.lib\n\nword := \"found\"\n",
		"lib/word_test.rego": "not rego",
		"..data/word.rego":   "not rego",
		"README.md":          "not rego",
	} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if d := decide(t, engine(t, policy.Rules{Config: policy.Config{Replace: dir}}), asked()); d.Reason != "found" {
		t.Errorf("got %+v", d)
	}
	if _, err := policy.New(t.Context(), policy.Rules{Config: policy.Config{Replace: t.TempDir()}}); err == nil {
		t.Error("an empty directory is a policy")
	}
}

// TestOnlyPureBuiltinsAreAllowed holds the list against OPA's own marks, which
// are not enough (see builtins.go) but must not be contradicted.
func TestOnlyPureBuiltinsAreAllowed(t *testing.T) {
	known := map[string]*ast.Builtin{}
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		known[b.Name] = b
	}
	for _, name := range policy.Pure {
		if b := known[name]; b == nil || b.IsNondeterministic() || b.IsDeprecated() {
			t.Errorf("%s is unknown to OPA, not deterministic, or deprecated", name)
		}
	}
}
