package policy

import (
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// asked is what the members of the roles ask for, by issuer. The shipped policy
// looks the facts of an identity up in the table, and does nothing else with
// them: a fact that no member of its issuer asks for changes no answer. So it
// remembers by the others, and callers who differ in nothing that the table
// names share an answer.
type asked map[string]*questions

// questions are the values that are asked for, by field.
type questions struct {
	subject, email, kind, groups, roles map[string]bool
	claims                              map[string]map[string]bool // by path
	paths                               []string                   // of claims, in order
}

func newAsked(roles map[string]Role) asked {
	a := asked{}
	for _, role := range roles {
		for _, m := range role.Members {
			q := a[m.Issuer]
			if q == nil {
				q = &questions{
					subject: map[string]bool{}, email: map[string]bool{}, kind: map[string]bool{},
					groups: map[string]bool{}, roles: map[string]bool{}, claims: map[string]map[string]bool{},
				}
				a[m.Issuer] = q
			}
			q.add(m)
		}
	}
	for _, q := range a {
		q.paths = slices.Sorted(maps.Keys(q.claims))
	}
	return a
}

// add takes in what one member asks for. A field it does not give is the empty
// string here, which costs an entry more and nothing else.
func (q *questions) add(m Member) {
	q.subject[m.Subject], q.email[m.Email], q.kind[m.Kind] = true, true, true
	q.groups[m.Groups], q.roles[m.Roles] = true, true
	for path, value := range m.Claims {
		if q.claims[path] == nil {
			q.claims[path] = map[string]bool{}
		}
		q.claims[path][value] = true
	}
}

// appendKey appends the issuer and those of the identity's facts that its
// members ask for.
func (a asked) appendKey(key []byte, id *IdentityInput) []byte {
	key = appendText(key, id.Issuer)
	q := a[id.Issuer]
	if q == nil {
		return key
	}
	key = appendAsked(key, q.subject, id.Subject)
	key = appendAsked(key, q.email, id.Email)
	key = appendAsked(key, q.kind, id.Kind)
	key = appendAsked(key, q.groups, id.Groups...)
	key = appendAsked(key, q.roles, id.Roles...)
	for _, path := range q.paths {
		key = appendAsked(key, q.claims[path], id.Claims[path]...)
	}
	return key
}

// appendAsked appends those of values that are asked for, and that they end.
func appendAsked(key []byte, asked map[string]bool, values ...string) []byte {
	for _, v := range values {
		if asked[v] {
			key = appendText(append(key, 1), v)
		}
	}
	return append(key, 0)
}

// factsRule is the one rule of the shipped policy that reads what asked stands
// for.
const factsRule = "facts"

// withoutFacts is the shipped policy but for that rule: what is left of it to
// remember by.
func withoutFacts(module *ast.Module) []any {
	var rules []any
	for _, rule := range module.Rules {
		if string(rule.Head.Name) != factsRule {
			rules = append(rules, rule)
		}
	}
	return rules
}

// keepsToItself says that a module of policy.deny looks at none of the policy's
// own rules: it could see facts there, or ask about an identity of its own
// making (with input as …), who has facts that this one was not asked about.
func keepsToItself(module *ast.Module) bool {
	itself := true
	var visitor *ast.GenericVisitor
	visitor = ast.NewGenericVisitor(func(node any) bool {
		switch node := node.(type) {
		case *ast.Head: // which the visitor walks in part
			if node.Key != nil {
				visitor.Walk(node.Key)
			}
			if node.Value != nil {
				visitor.Walk(node.Value)
			}
		case ast.Var: // data as a whole
			itself = itself && !node.Equal(ast.DefaultRootDocument.Value)
		case ast.Ref:
			if !node.HasPrefix(ast.DefaultRootRef) {
				return false
			}
			itself = itself && (node.HasPrefix(denyPackage) || node.HasPrefix(tableRef))
			for _, term := range node[1:] {
				visitor.Walk(term)
			}
			return true
		}
		return false
	})
	visitor.Walk(module)
	return itself
}
