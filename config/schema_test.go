package config_test

import (
	"bytes"
	"encoding"
	"encoding/json"
	"maps"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/config"
	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

const schemaFile = "schema.json"

// object is a JSON object of the schema.
type object = map[string]any

// words are the types that may be one word in place of what they hold.
var words = map[reflect.Type][]string{
	reflect.TypeFor[proxy.Allow]():     {"anyone"},
	reflect.TypeFor[policy.Methods]():  {"any"},
	reflect.TypeFor[vault.Injection](): {"bearer", "basic", "mtls"},
}

// shorts are the types that may be one value of a form in place of what they hold.
var shorts = map[reflect.Type]string{reflect.TypeFor[vault.MaxAge](): "duration"}

// forms are the values that have a syntax, by the name of their definition.
var forms = object{
	"text":     object{"type": "string", "minLength": 1, "not": object{"pattern": `^\$\{(file|env):[^{}]+\}$`}},
	"secret":   object{"type": "string", "pattern": `^\$\{(file|env):[^{}]+\}$`, "examples": []string{"${file:NAME}", "${env:NAME}"}},
	"duration": object{"type": "string", "pattern": `^([0-9]{1,5}d)?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))*$`, "minLength": 2, "examples": []string{"500ms", "30s", "10m", "24h", "90d"}},
	"size":     object{"type": []string{"string", "integer"}, "pattern": `^[0-9]+(B|KiB|MiB|GiB)?$`, "minimum": 0, "examples": []string{"64KiB", "10MiB", "1GiB"}},
	"network":  object{"type": "string", "pattern": `^[0-9a-fA-F:.]+/[0-9]{1,3}$`, "examples": []string{"10.0.0.0/8", "2001:db8::/32"}},
	"kind":     object{"enum": []authn.Kind{authn.Human, authn.Workload, authn.Agent}},
	"level":    object{"enum": []string{"debug", "info", "warn", "error"}},
	"url":      object{"type": "string", "pattern": "^https?://"},
	"aws":      object{"type": "string", "pattern": "^[a-z0-9-]+$"},
	"method":   object{"type": "string", "pattern": "^[A-Z0-9!#$%&'+.^_`|~-]+$", "not": object{"enum": []string{"CONNECT", "TRACE"}}, "examples": []string{"GET", "POST"}},
}

// closed are the fields that take words of a closed list, or have a form, and
// whose Go type does not say so. TestSchemaAgreesWithLoad finds one that is
// missing here.
var closed = map[string]object{
	"audit.Config.Mode":             {"enum": []string{"strict", "buffered"}},
	"authn.IssuerConfig.Tokens":     {"enum": []string{"access", "id"}},
	"authn.IssuerConfig.Algorithms": {"enum": []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}},
	"authn.IssuerConfig.URL":        ref("url"),
	"config.Config.URL":             ref("url"),
	"policy.Member.Kind":            ref("kind"),
	"proxy.Route.Cache":             {"enum": []string{"no-store", "upstream"}},
	"proxy.Route.IdentityHeaders{}": {"enum": []string{"id", "issuer", "subject", "email", "kind", "groups", "role", "actor"}},
	"proxy.Route.Host":              {"enum": []string{"upstream", "preserve"}},
	"proxy.Route.Secret":            {"type": "string", "pattern": "^[^/]+/[^/]+/[^/]+$", "examples": []string{"vault/collection/name"}},
	"proxy.Route.Secrets":           {"type": "string", "pattern": "^[^/]+/[^/]+/[^/]+$", "examples": []string{"vault/collection/name"}},
	"proxy.Route.Upstream":          ref("url"),
	"proxy.Route.Trace":             {"enum": []string{"propagate", "none"}},
	"proxy.Route.Forwarded":         {"enum": []string{"send", "none"}},
	"proxy.Route.Methods":           ref("method"),
	"proxy.Route.TokenFrom":         {"enum": []string{"x-api-key", "x-goog-api-key", "api-key", "proxy-authorization", "x-amz-security-token"}},
	"telemetry.Config.Identities":   {"enum": []string{"pseudonymous", "plain"}},
	"telemetry.Config.Sample":       {"type": "number", "minimum": 0, "maximum": 1},
	"telemetry.OTLP.Endpoint":       ref("url"),
	"telemetry.OTLP.Protocol":       {"enum": []string{"grpc", "http"}},
	"vault.Bitwarden.API":           ref("url"),
	"vault.Bitwarden.Identity":      ref("url"),
	"vault.As.Format":               {"type": "string", "pattern": `^[^{}]*\{token\}[^{}]*$`},
	"vault.GitHubApp.API":           ref("url"),
	"vault.GitHubApp.Permissions{}": {"enum": []string{"read", "write", "admin"}},
	"vault.OAuth2.Auth":             {"enum": []string{"basic", "post"}},
	"vault.OAuth2.Grant":            {"enum": []string{"client_credentials", "refresh_token"}},
	"vault.OAuth2.TokenURL":         ref("url"),
	"vault.Injection.Cookie":        {"type": "string", "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"},
	"vault.Injection.Format":        {"type": "string", "pattern": `\{[A-Za-z_][A-Za-z0-9_-]*\}`},
	"vault.Injection.Path":          {"type": "string", "pattern": `^/.*\{[A-Za-z_][A-Za-z0-9_-]*\}`, "examples": []string{"/bot{secret}"}},
	"vault.Injection.Query":         {"type": "string", "pattern": "^[A-Za-z0-9._~-]+$"},
	"vault.SigV4.Region":            ref("aws"),
	"vault.SigV4.Service":           ref("aws"),
	"vault.Bitwarden.Organization":  {"type": "string", "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"},
}

func ref(name string) object { return object{"$ref": "#/$defs/" + name} }

// schema.json is what the Config structs and their comments say.
func TestSchema(t *testing.T) {
	s := &schemaOf{docs: docs{fields: map[string]map[string]string{}}, defs: object{}}
	maps.Copy(s.defs, forms)
	root := s.structure(t, reflect.TypeFor[config.Config]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "vaultspan.yaml"
	root["$comment"] = "Generated from the Config structs by go test ./config -run TestSchema -update-docs: do not edit."
	root["$defs"] = s.defs
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(root); err != nil {
		t.Fatal(err)
	}
	if *updateDocs {
		if err := os.WriteFile(schemaFile, text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if config.Schema() != text.String() {
		t.Error("config/schema.json is not what the structs and their comments say: run go test ./config -run TestSchema -update-docs")
	}
	for name := range closed {
		if !s.used[name] {
			t.Errorf("closed names %s, which is no field", name)
		}
	}
}

// schemaOf writes the schema, a definition a struct.
type schemaOf struct {
	docs
	defs object
	used map[string]bool // of closed
}

// required says that a configuration without the field is refused, whatever
// else is in it.
var required = regexp.MustCompile(`\bRequired[.,]`)

func (s *schemaOf) structure(t *testing.T, of reflect.Type) object {
	properties, needed := object{}, []string{}
	for field := range of.Fields() {
		key := field.Tag.Get("yaml")
		if key == "" || key == "-" {
			continue
		}
		comment := s.comment(t, of, field.Name)
		name := of.String() + "." + field.Name
		value := s.value(t, field.Type, name)
		value["description"] = strings.Replace(comment, field.Name, key, 1)
		properties[key] = value
		if required.MatchString(comment) {
			needed = append(needed, key)
		}
	}
	schema := object{"type": "object", "additionalProperties": false, "minProperties": 1, "properties": properties}
	if len(needed) > 0 {
		schema["required"] = needed
	}
	return schema
}

// value is the schema of one value. name is the field it is of.
func (s *schemaOf) value(t *testing.T, of reflect.Type, name string) object {
	extra, has := closed[name]
	if has {
		if s.used == nil {
			s.used = map[string]bool{}
		}
		s.used[name] = true
	}
	if words := words[of]; words != nil {
		return object{"anyOf": []object{{"enum": words}, s.composite(t, of, name)}}
	}
	if short := shorts[of]; short != "" {
		return object{"anyOf": []object{ref(short), s.composite(t, of, name)}}
	}
	if has && of.Kind() != reflect.Slice {
		return maps.Clone(extra)
	}
	switch {
	case of == reflect.TypeFor[time.Duration]():
		return ref("duration")
	case of == reflect.TypeFor[func() string]():
		return ref("secret")
	case of == reflect.TypeFor[netip.Prefix]():
		return ref("network")
	case of == reflect.TypeFor[authn.Kind]():
		return ref("kind")
	case of.String() == "slog.Level":
		return ref("level")
	case strings.HasSuffix(of.String(), ".Bytes"):
		return ref("size")
	case of.Kind() != reflect.Struct && reflect.PointerTo(of).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		t.Errorf("%s: the schema does not know the syntax of %v: add it to forms or words", name, of)
	}
	return s.composite(t, of, name)
}

// composite is the schema of a value by its kind alone.
func (s *schemaOf) composite(t *testing.T, of reflect.Type, name string) object {
	switch of.Kind() {
	case reflect.Pointer:
		return s.value(t, of.Elem(), name)
	case reflect.Struct:
		defined := strings.TrimPrefix(of.String(), "config.")
		if s.defs[defined] == nil {
			s.defs[defined] = object{} // before what refers to itself
			s.defs[defined] = s.structure(t, of)
		}
		return ref(defined)
	case reflect.Map:
		return object{"type": "object", "minProperties": 1, "additionalProperties": s.value(t, of.Elem(), name+"{}")}
	case reflect.Slice:
		items := s.value(t, of.Elem(), name) // what is closed is each of them
		if of == reflect.TypeFor[policy.Methods]() {
			items = ref("method")
		}
		list := object{"type": "array", "minItems": 1, "items": items}
		if name == "config.Config.TrustedProxies" { // where empty is safe
			delete(list, "minItems")
		}
		return list
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer"}
	case reflect.String:
		return ref("text")
	}
	t.Errorf("%s: the schema cannot say what a %v is", name, of)
	return object{}
}
