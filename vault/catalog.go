package vault

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// catalog is what the machine account could see at the last full fetch, without
// values. Secrets are kept under their ids, not names: two collections may use
// one name.
type catalog struct {
	projects map[string][]string // name → ids
	byID     map[string]Ref      // ids in lower case
	byName   map[inProject][]Ref // no project: in no collection
}

type inProject struct{ project, name string }

// newCatalog takes failures for what they are: secrets that exist. One whose
// key could not be decrypted either keeps the name it had before.
func newCatalog(s Snapshot, before catalog) catalog {
	c := catalog{make(map[string][]string), make(map[string]Ref), make(map[inProject][]Ref)}
	for _, id := range slices.Sorted(maps.Keys(s.Projects)) {
		c.projects[s.Projects[id]] = append(c.projects[s.Projects[id]], id)
	}
	for _, r := range s.Refs {
		c.byID[strings.ToLower(r.ID)] = r
	}
	for _, f := range s.Failed {
		id := strings.ToLower(f.ID)
		r, old := f.Ref, before.byID[id]
		r.Name, r.Project = cmp.Or(r.Name, old.Name), cmp.Or(r.Project, old.Project)
		c.byID[id] = r
	}
	for _, id := range slices.Sorted(maps.Keys(c.byID)) {
		r := c.byID[id]
		c.byName[inProject{r.Project, r.Name}] = append(c.byName[inProject{r.Project, r.Name}], r)
	}
	return c
}

// project is the id of the one project that a collection names.
func (c catalog) project(collection Collection) (string, error) {
	projects := c.projects[collection.Name]
	switch len(projects) {
	case 1:
		return projects[0], nil
	case 0:
		return "", fmt.Errorf("collection %s does not exist, or the machine account cannot see it%s",
			collection, didYouMean(collection.Name, maps.Keys(c.projects)))
	}
	return "", fmt.Errorf("collection %s is ambiguous: projects %s have this name; rename all but one",
		collection, strings.Join(projects, " and "))
}

// resolve finds the one secret that a reference names. Anything but exactly
// one is an error, for the operator: it names ids and neighbours.
func (c catalog) resolve(r Reference) (Ref, error) {
	project, err := c.project(r.Collection)
	if err != nil {
		return Ref{}, err
	}
	byID, known := c.byID[strings.ToLower(r.Name)]
	if known && byID.Project == project {
		return byID, nil // ids are the server's: no name can take one's place
	}
	switch found := c.byName[inProject{project, r.Name}]; len(found) {
	case 0:
	case 1:
		return found[0], nil
	default:
		return Ref{}, fmt.Errorf("secret %s is ambiguous: secrets %s have this name; name one by its id", r, ids(found))
	}

	loose := c.byName[inProject{"", r.Name}]
	if known && byID.Project == "" {
		loose = []Ref{byID}
	}
	if len(loose) > 0 {
		return Ref{}, fmt.Errorf("secret %s is in no project, so in no collection: put %s into project %s", r, ids(loose), r.Collection.Name)
	}
	if nameless := c.byName[inProject{project, ""}]; len(nameless) > 0 {
		return Ref{}, fmt.Errorf("secret %s is not found, but the name of %s cannot be read", r, ids(nameless))
	}
	return Ref{}, fmt.Errorf("secret %s does not exist, or the machine account cannot see it%s", r, didYouMean(r.Name, func(yield func(string) bool) {
		for k := range c.byName {
			if k.project == project && !yield(k.name) {
				return
			}
		}
	}))
}

func ids(refs []Ref) string {
	var all []string
	for _, r := range refs {
		all = append(all, r.ID)
	}
	return strings.Join(all, " and ")
}

// didYouMean suggests the nearest of known, or nothing.
func didYouMean(name string, known iter.Seq[string]) string {
	best, distance := "", 1+len(name)/3
	for _, k := range slices.Sorted(known) {
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
