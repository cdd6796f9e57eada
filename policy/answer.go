package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// maxReason bounds what a reason may carry to callers and into records.
const maxReason = 512

// query asks for the decision and the denials at once; each is a list, so that
// an undefined decision is an empty list and not an absent answer.
const query = `{"decision": [d | d := data.vaultspan.decision], "denials": %s}`

const (
	noDenials  = `[]`
	allDenials = `[reasons | reasons := data.vaultspan.deny.reasons]`
)

// answer reads the result of query into a Decision: the one place where Rego's
// values become ours. Anything but the documented shape is an error, and an
// error is a refusal.
func (e *Engine) answer(result *ast.Term, in *Input) (Decision, error) {
	top, ok := result.Value.(ast.Object)
	if !ok {
		return Decision{}, errors.New("the answer is not an object")
	}
	d, err := e.decided(list(top, "decision"), in)
	if err != nil {
		return Decision{}, err
	}
	reasons, err := denials(list(top, "denials"))
	if err != nil {
		return Decision{}, err
	}
	if len(reasons) > 0 {
		d = Decision{Reason: strings.Join(reasons, "; ")}
	}
	if !d.Allow {
		d.Role, d.Secret = "", ""
		d.Reason = cmp.Or(d.Reason, "denied")
	}
	d.Reason = clip(d.Reason)
	d.Revision = e.revision
	return d, nil
}

func list(top ast.Object, key string) *ast.Array {
	if term := top.Get(ast.InternedTerm(key)); term != nil {
		if l, ok := term.Value.(*ast.Array); ok {
			return l
		}
	}
	return ast.NewArray()
}

func (e *Engine) decided(values *ast.Array, in *Input) (Decision, error) {
	if values.Len() == 0 {
		return Decision{Reason: "policy-undefined"}, nil
	}
	object, ok := values.Elem(0).Value.(ast.Object)
	if !ok || values.Len() != 1 {
		return Decision{}, errors.New("decision is not one object")
	}
	var d Decision
	fields := map[string]func(ast.Value) bool{
		"allow":  func(v ast.Value) bool { b, ok := v.(ast.Boolean); d.Allow = bool(b); return ok },
		"reason": into(&d.Reason),
		"role":   into(&d.Role),
		"secret": into(&d.Secret),
	}
	err := object.Iter(func(k, v *ast.Term) error {
		key, _ := k.Value.(ast.String)
		read, ok := fields[string(key)]
		if !ok {
			return fmt.Errorf("decision has the unknown key %v", k)
		}
		if !read(v.Value) {
			return fmt.Errorf("decision.%s has the wrong type", string(key))
		}
		return nil
	})
	switch {
	case err != nil:
		return Decision{}, err
	case object.Len() != len(fields):
		return Decision{}, errors.New("decision lacks one of allow, reason, role and secret")
	case !d.Allow:
		return d, nil
	}
	return d, e.plausible(d, in)
}

// plausible refuses an allow that the configuration does not bear out, so that
// what is enforced and what is injected cannot disagree: a secret of another
// route, a route's upstream without its credential, a role nobody configured.
func (e *Engine) plausible(d Decision, in *Input) error {
	_, known := e.roles[d.Role]
	switch {
	case !known && (d.Role != "" || !e.replaced):
		return errors.New("decision allows by a role that is not configured")
	case d.Secret == "" && len(in.Route.Secrets) > 0:
		return errors.New("decision allows without a secret on a route that names one")
	case d.Secret != "" && !slices.Contains(in.Route.Secrets, d.Secret):
		return errors.New("decision names a secret that the route does not")
	}
	return nil
}

// denials are the operator's messages, sorted.
func denials(values *ast.Array) ([]string, error) {
	if values.Len() == 0 {
		return nil, nil
	}
	set, ok := values.Elem(0).Value.(ast.Set)
	if !ok {
		return nil, errors.New("vaultspan.deny.reasons is not a set")
	}
	var reasons []string
	for _, term := range set.Slice() {
		reason, ok := term.Value.(ast.String)
		if !ok {
			return nil, errors.New("vaultspan.deny.reasons holds something that is not a string")
		}
		reasons = append(reasons, cmp.Or(string(reason), "denied"))
	}
	slices.Sort(reasons)
	return reasons, nil
}

func into(s *string) func(ast.Value) bool {
	return func(v ast.Value) bool {
		text, ok := v.(ast.String)
		*s = string(text)
		return ok
	}
}

// clip keeps a reason that quotes the request from being as long as one, and
// fit for records, which are UTF-8.
func clip(s string) string {
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason-len("…")], "") + "…"
	}
	return strings.ToValidUTF8(s, "\ufffd")
}
