package policy

import (
	"cmp"
	"maps"
	"slices"
)

// A fact is one thing that is true of an identity, and one thing a member can
// ask for: {field, path, value}, the path being empty but for claims. rbac.rego
// derives the same triples from the input. Keeping the three apart is what lets
// a claim's value hold anything at all without reading as something else.
type fact [3]string

func (f fact) rego() []any { return []any{f[0], f[1], f[2]} }

// facts is everything a member asks for: at least one, and all must be true.
func (m Member) facts() []fact {
	var fs []fact
	for _, f := range []fact{
		{"subject", "", m.Subject},
		{"email", "", m.Email},
		{"groups", "", m.Groups},
		{"roles", "", m.Roles},
		{"kind", "", m.Kind},
	} {
		if f[2] != "" {
			fs = append(fs, f)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(m.Claims)) {
		fs = append(fs, fact{"claims", path, m.Claims[path]})
	}
	if len(fs) == 0 {
		fs = append(fs, fact{"anyone", "", ""})
	}
	return fs
}

// table lays the roles out so that the policy finds, never scans:
//
//	members[issuer][field][path][value] → [{role, needs: [fact, …]}, …]
//	grants[role][collection][method]    → true
//
// A member is filed under the rarest fact it asks for, so that a fact many
// members share (ref: refs/heads/main) does not gather them all in one list.
func table(roles map[string]Role) map[string]any {
	type place struct {
		issuer string
		fact   fact
	}
	shared := map[place]int{}
	for _, role := range roles {
		for _, m := range role.Members {
			for _, f := range m.facts() {
				shared[place{m.Issuer, f}]++
			}
		}
	}

	members, grants := map[string]any{}, map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(roles)) {
		for _, m := range roles[name].Members {
			facts := m.facts()
			rarest := slices.MinFunc(facts, func(a, b fact) int {
				return cmp.Compare(shared[place{m.Issuer, a}], shared[place{m.Issuer, b}])
			})
			needs := []any{}
			for _, f := range facts {
				if f != rarest {
					needs = append(needs, f.rego())
				}
			}
			values := child(child(child(members, m.Issuer), rarest[0]), rarest[1])
			list, _ := values[rarest[2]].([]any)
			values[rarest[2]] = append(list, map[string]any{"role": name, "needs": needs})
		}
		reach := child(grants, name)
		for collection, methods := range roles[name].Collections {
			for _, method := range methods {
				child(reach, collection)[method] = true
			}
		}
	}
	return map[string]any{"rbac": map[string]any{"members": members, "grants": grants}}
}

func child(parent map[string]any, key string) map[string]any {
	c, ok := parent[key].(map[string]any)
	if !ok {
		c = map[string]any{}
		parent[key] = c
	}
	return c
}

// Paths lists the claim paths that members name: what authn must expose.
func (r Rules) Paths() []string {
	paths := map[string]bool{}
	for _, role := range r.Roles {
		for _, m := range role.Members {
			for path := range m.Claims {
				paths[path] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(paths))
}
