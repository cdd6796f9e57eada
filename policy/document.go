package policy

import "github.com/open-policy-agent/opa/v1/ast"

// maxInput bounds the input document: OPA notices its deadline between steps,
// so what bounds one step is the size of what it works on.
const maxInput = 64 << 10

// size is the length of every string of the input, with what JSON puts around
// each.
func (in *Input) size() int {
	n := 0
	text := func(s string) { n += len(s) + 3 }
	list := func(l []string) {
		for _, s := range l {
			text(s)
		}
	}
	lists := func(m map[string][]string) {
		for k, l := range m {
			text(k)
			list(l)
		}
	}
	id, route, req := &in.Identity, &in.Route, &in.Request
	for _, s := range [...]string{id.Issuer, id.Subject, id.Kind, id.Email, route.Name, req.Method, req.Host, req.Path, req.ClientIP} {
		text(s)
	}
	list(id.Groups)
	list(id.Roles)
	list(id.Actors)
	lists(id.Claims)
	list(route.Secrets)
	list(route.Allow)
	list(route.Tags)
	lists(req.Query)
	return n
}

// document is the input as Rego sees it: every field present, no null, and
// every string byte for byte, not put through JSON, which would replace what is
// not UTF-8 and so make two identities one.
func (in *Input) document() ast.Value {
	id, route, req := &in.Identity, &in.Route, &in.Request
	return object(
		"identity", object(
			"issuer", ast.String(id.Issuer),
			"subject", ast.String(id.Subject),
			"kind", ast.String(id.Kind),
			"email", ast.String(id.Email),
			"groups", array(id.Groups),
			"roles", array(id.Roles),
			"claims", arrays(id.Claims),
			"actors", array(id.Actors),
		),
		"route", object(
			"name", ast.String(route.Name),
			"secrets", array(route.Secrets),
			"allow", array(route.Allow),
			"tags", array(route.Tags),
		),
		"request", object(
			"method", ast.String(req.Method),
			"host", ast.String(req.Host),
			"path", ast.String(req.Path),
			"query", arrays(req.Query),
			"client_ip", ast.String(req.ClientIP),
		),
	)
}

// object takes its keys and values in turn.
func object(pairs ...any) ast.Value {
	o := ast.NewObject()
	for i := 0; i < len(pairs); i += 2 {
		o.Insert(ast.InternedTerm(pairs[i].(string)), ast.NewTerm(pairs[i+1].(ast.Value)))
	}
	return o
}

func array(list []string) ast.Value {
	terms := make([]*ast.Term, len(list))
	for i, s := range list {
		terms[i] = ast.StringTerm(s)
	}
	return ast.NewArray(terms...)
}

func arrays(m map[string][]string) ast.Value {
	o := ast.NewObject()
	for k, list := range m {
		o.Insert(ast.StringTerm(k), ast.NewTerm(array(list)))
	}
	return o
}
