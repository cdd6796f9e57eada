package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultspan/vaultspan/policy"
)

// TestTheSchemaIsTheInput derives the schema from the Go types, so that neither
// can gain a field without the other.
func TestTheSchemaIsTheInput(t *testing.T) {
	var got any
	if err := json.Unmarshal(policy.Schema, &got); err != nil {
		t.Fatal(err)
	}
	delete(got.(map[string]any), "$schema")
	delete(got.(map[string]any), "title")
	text, err := json.Marshal(schemaOf(reflect.TypeFor[policy.Input]()))
	if err != nil {
		t.Fatal(err)
	}
	var want any
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("input.schema.json is not the schema of Input; want\n%s", text)
	}
}

func schemaOf(typ reflect.Type) map[string]any {
	switch typ.Kind() {
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(typ.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(typ.Elem())}
	}
	properties, required := map[string]any{}, []string{}
	for field := range typ.Fields() {
		name := field.Tag.Get("json")
		properties[name] = schemaOf(field.Type)
		required = append(required, name)
	}
	return map[string]any{"type": "object", "additionalProperties": false, "required": required, "properties": properties}
}

// TestEveryFieldReachesThePolicyAndTheKey sets each field of the Input in turn:
// the policy must see it, and memory must tell it apart.
func TestEveryFieldReachesThePolicyAndTheKey(t *testing.T) {
	e := engine(t, policy.Rules{Config: policy.Config{Replace: module(t, `package vaultspan

decision := {"allow": false, "reason": sprintf("%v", [all]), "role": "", "secret": ""}

all := {part | walk(input, [path, value]); is_string(value); part := concat(".", [sprintf("%v", [p]) | some p in path])}
`)}})
	var empty policy.Input
	before := decide(t, e, empty)
	fields := 0
	for section := range reflect.TypeFor[policy.Input]().Fields() {
		for field := range section.Type.Fields() {
			fields++
			var in policy.Input
			value := reflect.ValueOf(&in).Elem().FieldByIndex(section.Index).FieldByIndex(field.Index)
			switch value.Kind() {
			case reflect.String:
				value.SetString("set")
			case reflect.Slice:
				value.Set(reflect.ValueOf([]string{"set"}))
			case reflect.Map:
				value.Set(reflect.ValueOf(map[string][]string{"k": {"set"}}))
			}
			name := section.Tag.Get("json") + "." + field.Tag.Get("json")
			d := decide(t, e, in)
			if d.Cached || value.Kind() != reflect.String && d.Reason == before.Reason || !strings.Contains(d.Reason, name) {
				t.Errorf("%s: got %+v", name, d)
			}
		}
	}
	if fields != 17 {
		t.Errorf("%d fields: teach reads.go and this test the new one", fields)
	}
}

func TestARevisionNamesWhatDecides(t *testing.T) {
	deny := func(text string) policy.Config {
		return policy.Config{Deny: []string{module(t, "package vaultspan.deny\n\n"+text+"\n")}}
	}
	const never, ever = `reasons contains "x" if input.route.name == "never"`, `reasons contains "x" if input.route.name == "ever"`
	first := engine(t, policy.Rules{Roles: company(), Config: deny(never)}).Revision()
	if !regexp.MustCompile(`^[0-9a-f]{12}$`).MatchString(first) {
		t.Errorf("revision %q", first)
	}
	if again := engine(t, policy.Rules{Roles: company(), Config: deny(never)}).Revision(); again != first {
		t.Errorf("%q and %q for the same rules in another file", first, again)
	}
	roles := company()
	roles["dev"].Collections["prod/team-dev"] = policy.Methods{"GET"}
	for name, rules := range map[string]policy.Rules{
		"another module": {Roles: company(), Config: deny(ever)},
		"no module":      {Roles: company()},
		"another role":   {Roles: roles, Config: deny(never)},
		"no roles":       {Config: deny(never)},
	} {
		if other := engine(t, rules).Revision(); other == first {
			t.Errorf("%s has the same revision", name)
		}
	}
}

// An engine is what it was built of.
func TestAnEngineKeepsNothingOfTheCallers(t *testing.T) {
	roles := company()
	e := engine(t, policy.Rules{Roles: roles})
	roles["dev"].Collections["prod/team-dev"] = policy.Methods{"NOTHING"}
	delete(roles, "dev")
	if d := decide(t, e, asked()); !d.Allow {
		t.Errorf("got %+v", d)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	e := engine(t, policy.Rules{Config: policy.Config{Replace: module(t, `package vaultspan

decision := {"allow": false, "reason": input.request.path, "role": "", "secret": ""}
`)}})
	in := asked()
	for i := range 2000 {
		in.Request.Path = fmt.Sprintf("/%d/%s", i, strings.Repeat("x", 30<<10))
		decide(t, e, in)
	}
	answers, bytes := e.Remembered()
	if bytes > 16<<20 || answers < 100 {
		t.Errorf("%d answers of %d bytes are held", answers, bytes)
	}
	if d := decide(t, e, in); !d.Cached {
		t.Error("the last answer is forgotten")
	}
}

func TestDecisionsInParallel(t *testing.T) {
	deny := module(t, "package vaultspan.deny\n\nreasons contains \"closed\" if input.request.path == \"/closed\"\n")
	e := engine(t, policy.Rules{Roles: company(), Config: policy.Config{Deny: []string{deny}}})
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 200 {
				in := asked()
				in.Identity.Subject = fmt.Sprint(worker, i%50)
				want := i%3 != 0
				if !want {
					in.Request.Path = "/closed"
				}
				if d, err := e.Decide(t.Context(), in); err != nil || d.Allow != want {
					t.Errorf("got %+v, %v", d, err)
				}
			}
		})
	}
	group.Wait()
}

// A burst of callers queues for the cores, and nobody's deadline runs meanwhile.
func TestEvaluationsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engine(t, policy.Rules{Roles: company()})
		decide(t, e, asked())
		release := e.Occupy()
		if d := decide(t, e, asked()); !d.Cached {
			t.Error("a remembered answer needs no turn")
		}
		in := asked()
		in.Request.Method = "PUT"
		if d, err := e.Decide(t.Context(), in); !errors.Is(err, context.DeadlineExceeded) || d.Allow {
			t.Errorf("without a turn: %+v, %v", d, err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if d, err := e.Decide(gone, in); !errors.Is(err, context.Canceled) || d.Allow {
			t.Errorf("for a caller who is gone: %+v, %v", d, err)
		}
		time.AfterFunc(900*time.Millisecond, release) // far beyond the deadline of one
		if d, err := e.Decide(t.Context(), in); err != nil || d.Cached {
			t.Errorf("after waiting: %+v, %v", d, err)
		}
	})
}

// Modules of one package may lean on each other.
func TestAGlobFindsModulesAndLeavesTests(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.rego":      "package vaultspan.deny\n\nreasons contains \"a\" if near\n",
		"b.rego":      "package vaultspan.deny\n\nnear if input.request.client_ip == \"192.0.2.1\"\n",
		"a_test.rego": "package vaultspan.deny_test\n\ntest_a if true\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := policy.Config{Deny: []string{filepath.Join(dir, "*.rego"), filepath.Join(dir, "a.rego")}}
	if deny, _, err := config.Files(); err != nil || len(deny) != 2 {
		t.Errorf("got %q, %v", deny, err)
	}
	if d := decide(t, engine(t, policy.Rules{Roles: company(), Config: config}), asked()); d.Reason != "a" {
		t.Errorf("got %+v", d)
	}
}
