package policy

import (
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
)

// schema is the JSON Schema of Input: what policies are type-checked against,
// and what `opa check --schema` wants.
//
//go:embed input.schema.json
var schema []byte

var (
	rootPackage = ast.MustParseRef("data.vaultspan")
	denyPackage = ast.MustParseRef("data.vaultspan.deny")
	decisionRef = ast.MustParseRef("data.vaultspan.decision")
	reasonsRef  = ast.MustParseRef("data.vaultspan.deny.reasons")
	tableRef    = ast.MustParseRef("data.rbac")
)

// compile checks the modules together: types against the schema of the input,
// the allow-list of builtins, OPA's strict rules, and what OPA lets pass but
// would silently never deny.
func compile(modules []module, problems *Problems) *ast.Compiler {
	if len(modules) == 0 || modules[0].deny {
		return nil // the policy itself is missing, and load has said so
	}
	parsed := map[string]*ast.Module{}
	for _, m := range modules {
		if m.parsed == nil {
			return nil // a type error may only be the missing module's
		}
		parsed[m.file] = m.parsed
	}
	var document any
	if err := json.Unmarshal(schema, &document); err != nil {
		panic(err) // it is embedded, and tested
	}
	schemas := ast.NewSchemaSet()
	schemas.Put(ast.SchemaRootRef, document)

	compiler := ast.NewCompiler().WithStrict(true).WithSchemas(schemas).SetErrorLimit(0)
	if len(*problems) == 0 {
		compiler = compiler.WithCapabilities(capabilities())
	} // else this only looks for more problems, past builtins already named

	compiler.Compile(parsed)
	if compiler.Failed() {
		problems.rego("", compiler.Errors)
		return nil
	}
	for _, m := range modules {
		dangling(compiler, compiler.Modules[m.file], problems)
	}
	if len(compiler.GetRulesWithPrefix(decisionRef)) == 0 {
		problems.file(modules[0].file, "no module defines decision in package vaultspan: every request would be refused")
	}
	denies(compiler, modules, problems)
	return compiler
}

// dangling finds references to data that nothing defines. OPA calls them
// undefined, and a denial that rests on one would never fire.
func dangling(compiler *ast.Compiler, module *ast.Module, problems *Problems) {
	ast.WalkTerms(module, func(term *ast.Term) bool {
		ref, ok := term.Value.(ast.Ref)
		if !ok || !ref.HasPrefix(ast.DefaultRootRef) {
			return false
		}
		if ground := ref.GroundPrefix(); !ground.HasPrefix(tableRef) && len(compiler.GetRules(ground)) == 0 {
			problems.at(term.Location, fmt.Sprintf("undefined ref: %v: no rule and no data has this name", ref))
		}
		return false
	})
}

// denies checks that the operator's modules can only take away, and do: reasons
// is a set, and every other rule serves it. A rule that does not is a misspelt
// reasons, or a denial that was never wired.
func denies(compiler *ast.Compiler, modules []module, problems *Problems) {
	used := map[*ast.Rule]bool{}
	var use func(node any)
	use = func(node any) {
		rule, ok := node.(*ast.Rule)
		if !ok || used[rule] {
			return
		}
		used[rule] = true
		for dependency := range compiler.Graph.Dependencies(rule) {
			use(dependency)
		}
	}
	for _, rule := range compiler.GetRulesWithPrefix(reasonsRef) {
		use(rule)
		if !rule.Ref().Equal(reasonsRef) || rule.Head.RuleKind() != ast.MultiValue {
			problems.at(rule.Location, "reasons is a set of messages: write reasons contains msg if …")
		}
	}
	for _, m := range modules {
		if !m.deny {
			continue
		}
		for _, rule := range compiler.Modules[m.file].Rules {
			if !used[rule] {
				problems.at(rule.Location, fmt.Sprintf("rule %v is not used by reasons, so it denies nothing: write reasons contains msg if …, or remove it", rule.Head.Name))
			}
		}
	}
}
