package vault

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// catalog is what the machine account could see at the last full fetch, by id
// and without values. Ids, not names, are what secrets are kept under: two
// collections may use one name.
type catalog struct {
	projects map[string]string // id → name
	refs     []Ref
}

// newCatalog takes failures for what they are: secrets that exist. One whose
// key could not be decrypted either keeps the name it had in before.
func newCatalog(s Snapshot, before catalog) catalog {
	c := catalog{projects: maps.Clone(s.Projects), refs: slices.Clone(s.Refs)}
	for _, f := range s.Failed {
		if i := slices.IndexFunc(c.refs, func(r Ref) bool { return r.ID == f.ID }); i < 0 {
			c.refs = append(c.refs, f.Ref)
		}
	}
	for i, r := range c.refs {
		if r.Name != "" && r.Project != "" {
			continue
		}
		failed := slices.ContainsFunc(s.Failed, func(f Failure) bool { return f.ID == r.ID })
		old := slices.IndexFunc(before.refs, func(o Ref) bool { return o.ID == r.ID })
		if failed && old >= 0 {
			c.refs[i].Name = cmp.Or(r.Name, before.refs[old].Name)
			c.refs[i].Project = cmp.Or(r.Project, before.refs[old].Project)
		}
	}
	return c
}

// resolve finds the one secret that a reference names. Anything but exactly
// one is an error, for the operator: it names ids and neighbours.
func (c catalog) resolve(r Reference) (Ref, error) {
	var projects []string
	for id, name := range c.projects {
		if name == r.Collection.Name {
			projects = append(projects, id)
		}
	}
	slices.Sort(projects)
	switch len(projects) {
	case 0:
		known := slices.Collect(maps.Values(c.projects))
		return Ref{}, fmt.Errorf("collection %s does not exist, or the machine account cannot see it%s", r.Collection, didYouMean(r.Collection.Name, known))
	case 1:
	default:
		return Ref{}, fmt.Errorf("collection %s is ambiguous: projects %s have this name; rename all but one", r.Collection, strings.Join(projects, " and "))
	}

	var found, orphans []string
	var ref Ref
	for _, s := range c.refs {
		byID := strings.EqualFold(s.ID, r.Name)
		switch {
		case s.Project == "" && (byID || s.Name == r.Name):
			orphans = append(orphans, s.ID)
		case s.Project != projects[0]:
		case byID:
			return s, nil // ids are the server's: no name can take one's place
		case s.Name == r.Name:
			ref, found = s, append(found, s.ID)
		}
	}
	slices.Sort(found)
	switch {
	case len(found) == 1:
		return ref, nil
	case len(found) > 1:
		return Ref{}, fmt.Errorf("secret %s is ambiguous: secrets %s have this name; name one by its id", r, strings.Join(found, " and "))
	case len(orphans) > 0:
		return Ref{}, fmt.Errorf("secret %s is in no project, so in no collection: put %s into project %s", r, strings.Join(orphans, ", "), r.Collection.Name)
	}
	var known []string
	for _, s := range c.refs {
		if s.Project == projects[0] {
			known = append(known, s.Name)
		}
	}
	return Ref{}, fmt.Errorf("secret %s does not exist, or the machine account cannot see it%s", r, didYouMean(r.Name, known))
}

// didYouMean suggests the nearest of known, or nothing.
func didYouMean(name string, known []string) string {
	best, distance := "", 1+len(name)/3
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := editDistance(strings.ToLower(name), strings.ToLower(k)); d < distance || (d == distance && best == "") {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// editDistance counts the insertions, deletions and substitutions from a to b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
