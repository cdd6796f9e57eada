package authn

import (
	"errors"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// path is a claim's place in a token.
type path struct {
	written string   // as in the configuration
	steps   []string // the member names on the way
	levels  []names  // what is read at each step
}

// parsePath reads a dotted path (realm_access.roles), or a JSON Pointer
// (RFC 6901) when it starts with a slash. Steps are names of members; elements
// of arrays cannot be addressed.
func parsePath(s string) (path, error) {
	var steps []string
	if pointer, ok := strings.CutPrefix(s, "/"); ok {
		if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(pointer), "~") {
			return path{}, errors.New(`in a JSON Pointer, write ~ as ~0 and / within a name as ~1`)
		}
		steps = slices.Collect(strings.SplitSeq(pointer, "/"))
		for i, step := range steps {
			steps[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		}
	} else {
		steps = slices.Collect(strings.SplitSeq(s, "."))
	}
	if slices.Contains(steps, "") {
		return path{}, errors.New(`has an empty name; write a.b, or /a/b when names hold dots`)
	}
	p := path{written: s, steps: steps}
	for _, step := range steps {
		p.levels = append(p.levels, namesOf(step))
	}
	return p, nil
}

// find walks from the token's top level, which names.object has decoded, down
// to the claim. An absent claim is nil; an ambiguous way there is an error.
func (p path) find(top object) (jsontext.Value, error) {
	v, ok := top[p.steps[0]]
	for i, step := range p.steps[1:] {
		if !ok || v.Kind() != '{' {
			return nil, nil
		}
		o, err := p.levels[i+1].object(v)
		if err != nil {
			return nil, err
		}
		v, ok = o[step]
	}
	return v, nil
}
