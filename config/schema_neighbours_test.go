package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/vaultspan/vaultspan/config"
)

// agreement compares what Load and the schema say of one configuration and of
// its neighbours.
type agreement struct {
	*testing.T
	path   string
	schema *jsonschema.Schema
	whole  object
	known  map[string]bool // its problems as it is: files and names that are not there
	n      int
}

func (a *agreement) start() {
	if err := a.schema.Validate(a.whole); err != nil {
		a.Fatalf("unchanged: %v", err)
	}
	for _, p := range a.problems() {
		if structural.MatchString(p.Text) {
			a.Fatalf("unchanged: %v", p)
		}
		a.known[p.Path+p.Text] = true
	}
}

// problems is what Load says of it as it is changed now.
func (a *agreement) problems() config.Problems {
	text, err := json.MarshalIndent(a.whole, "", " ") // JSON is YAML
	if err != nil {
		a.Fatal(err)
	}
	if err := os.WriteFile(a.path, text, 0o600); err != nil {
		a.Fatal(err)
	}
	_, err = config.Load(a.path, nil)
	found, _ := errors.AsType[config.Problems](err)
	return found
}

// try compares, after a change at a path.
func (a *agreement) try(at, change string) {
	a.n++
	why, structure := "", false
	for _, p := range a.problems() {
		if !a.known[p.Path+p.Text] && (strings.HasPrefix(p.Path, at) || p.Path != "" && strings.HasPrefix(at, p.Path)) {
			why, structure = p.Path+": "+p.Text, structure || structural.MatchString(p.Text)
		}
	}
	err := a.schema.Validate(a.whole)
	switch {
	case err != nil && why == "":
		a.Errorf("%s %s: Load takes it, the schema does not: %v", at, change, err)
	case err == nil && structure:
		a.Errorf("%s %s: the schema takes it, Load does not: %s", at, change, why)
	case err == nil && why != "" && change == `= "xyzzy"` && !syntax.MatchString(at):
		a.Errorf("%s takes words of a closed list, or has a syntax, that the schema does not know: %s", at, why)
	}
}

// in changes everything below a value; of an object, one key if it is given.
func (a *agreement) in(at string, value any, only string) {
	switch value := value.(type) {
	case object:
		value["xyzzy"] = "xyzzy"
		a.try(strings.TrimPrefix(at+".xyzzy", "."), "is there")
		delete(value, "xyzzy")
		for _, key := range slices.Sorted(maps.Keys(value)) {
			if below := strings.TrimPrefix(at+"."+key, "."); only == "" || key == only {
				was := value[key]
				a.at(below, was, func(v any) { value[key] = v })
				delete(value, key)
				a.try(below, "is not there")
				value[key] = was
			}
		}
	case []any:
		for i := range value {
			a.at(fmt.Sprintf("%s[%d]", at, i), value[i], func(v any) { value[i] = v })
		}
	}
}

// at changes a value, and everything below it.
func (a *agreement) at(at string, value any, set func(any)) {
	for _, v := range []any{
		nil, true, 7, 1.5, "", "xyzzy", "30s", "any", "anyone", "bearer", "basic", "mtls", "${file:fingerprint.key}",
		[]any{}, []any{"xyzzy"}, []any{7}, []any{object{}}, object{}, object{"xyzzy": "xyzzy"},
	} {
		set(v)
		a.try(at, fmt.Sprintf("= %#v", v))
	}
	set(value)
	a.in(at, value, "")
}
