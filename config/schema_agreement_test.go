package config_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	yaml "go.yaml.in/yaml/v3"

	"github.com/vaultspan/vaultspan/config"
)

// compiled is the schema as an editor has it.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.UnmarshalJSON(strings.NewReader(config.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("schema.json", schema); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// instance is a YAML document as an editor checks it: YAML 1.2, where a date is
// text. What JSON cannot say (anchors, keys given twice) is for Load alone.
func instance(n *yaml.Node) any {
	switch {
	case n.Kind == yaml.DocumentNode:
		return instance(n.Content[0])
	case n.Kind == yaml.AliasNode:
		return instance(n.Alias)
	case n.Kind == yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = instance(n.Content[i+1])
		}
		return m
	case n.Kind == yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, c := range n.Content {
			list[i] = instance(c)
		}
		return list
	case n.Tag == "!!null":
		return nil
	case n.Tag == "!!bool":
		return n.Value == "true"
	case n.Tag == "!!int", n.Tag == "!!float":
		if regexp.MustCompile(`^-?\d+(\.\d+)?$`).MatchString(n.Value) {
			return json.Number(n.Value)
		}
	}
	return n.Value
}

// demoConfig is the demo's configuration with its addresses filled in.
func demoConfig(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../cmd/vaultspan/demo_config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`\{\{\.(\w+)\}\}`).ReplaceAllStringFunc(string(text), func(name string) string {
		switch strings.Trim(name, "{}.") {
		case "Listen":
			return "127.0.0.1:8443"
		case "Admin":
			return "127.0.0.1:9443"
		case "Organization":
			return "5f1d7a84-0000-4000-8000-1b2c3d4e5f60"
		}
		return "http://127.0.0.1:8080"
	})
}

func TestSchemaAcceptsWhatIsShownToPeople(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{"demo": demoConfig(t), "good.txtar": goodConfig(t)}
	for i, block := range strings.Split(string(readme), "\n```yaml\n")[1:] {
		if text, _, _ := strings.Cut(block, "\n```"); strings.HasPrefix(text, "listen:") {
			shown[fmt.Sprintf("README's block %d", i+1)] = text
		}
	}
	if len(shown) < 3 {
		t.Error("the README shows no configuration that begins with listen:")
	}
	schema := compiled(t)
	for name, text := range shown {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := schema.Validate(instance(&doc)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func goodConfig(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/good.txtar")
	if err != nil {
		t.Fatal(err)
	}
	_, files := sections(string(text))
	for _, s := range files {
		if s.name == "vaultspan.yaml" {
			return s.text
		}
	}
	t.Fatal("good.txtar has no vaultspan.yaml")
	return ""
}

// What no structure says: a configuration that the schema takes and Load does
// not, for a reason of another kind than the schema's.
var beyondSchema = map[string]bool{
	"aliases": true, "duplicates": true, "yaml-anchor": true, "yaml-broken": true, "yaml-tab": true, "yaml-two": true, "yaml-unclosed": true, // YAML itself
	"apart": true, "rego": true, "references": true, "people": true, "listeners-alike": true, "keys-alike": true, // files, and names that lead nowhere
	"sessions-redis": true, "sessions-several": true, "sessions-advice": true, "sessions-no-section": true, // likewise
}

func TestSchemaRefusesTheConfigurationsThatLoadRefuses(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatal("no test files", err)
	}
	schema := compiled(t)
	for _, file := range cases {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		if beyondSchema[name] || name == "good" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, files := sections(string(text))
		i := slices.IndexFunc(files, func(s section) bool { return s.name == "vaultspan.yaml" })
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(files[i].text), &doc); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		value := any(nil)
		if len(doc.Content) > 0 {
			value = instance(&doc)
		}
		if schema.Validate(value) == nil {
			t.Errorf("%s: the schema takes it, Load does not", name)
		}
	}
}

// fullConfig uses every key there is.
const fullConfig = `
listen: 127.0.0.1:8443
url: https://gw.example.com
tls: {cert: tls.crt, key: tls.key}
insecure_plaintext_listen: false
trusted_proxies: [192.0.2.0/24]
admin: {listen: "127.0.0.1:9443", insecure_listen: false, socket: admin.sock}
shutdown_grace: 1m
issuers:
  - name: corp
    url: https://login.example.com
    audience: vaultspan
    tokens: [access]
    clients: [web]
    algorithms: [ES256]
    access_token_types: [at+jwt]
    max_lifetime: 1d
    clock_skew: 60s
    max_key_age: 1h
    kind: human
    kind_rules: [{claim: kind, value: agent, kind: agent}]
    claims: {groups: groups, roles: realm_access.roles, email: email, expose: [team]}
    ca: ca.pem
vaults:
  prod:
    bitwarden:
      organization: 5f1d7a84-0000-4000-8000-1b2c3d4e5f60
      access_token: "${file:bws-prod}"
      api: https://vault.example.com/api
      identity: https://vault.example.com/identity
      ca: ca.pem
      refresh: 30s
      max_stale: 10m
      idle: 15m
      timeout: 10s
    require_binding: true
    max_age: {payments: 90d, payments/KEY: {warn: 70d, stale: 80d, refuse: 90d}}
fingerprint_key: "${file:fingerprint.key}"
roles:
  reader:
    members:
      - {issuer: corp, groups: payments, subject: s, kind: human, email: a@example.com, roles: r, claims: {team: a}}
      - {issuer: corp, anyone: true}
    collections: {prod/payments: [GET, POST], prod/deploy: any}
policy: {deny: [deny.rego], replace: whole.rego}
routes:
  - name: stripe
    match: [gw.example.com/stripe/]
    strip: /stripe
    upstream: https://api.stripe.com
    secret: prod/payments/STRIPE_API_KEY
    inject: {header: X-Api-Key, format: "Token {secret}"}
    allow: [reader]
    methods: [GET]
    token_from: [x-api-key]
    private: [10.0.0.0/8]
    host: preserve
    upstream_tls: {ca: ca.pem, server_name: api.example.com}
    timeouts: {connect: 5s, response: 60s, idle: 5m}
    max_body: 10MiB
    max_inflight: 200
    origins: ["https://gw.example.com"]
    trace: propagate
    forwarded: send
    cache: upstream
    tags: [a]
  - {name: several, match: [/several/], upstream: "https://api.example.com", secrets: [prod/payments/KEY, prod/payouts/KEY], inject: bearer}
  - {name: bearer, match: [/bearer/], upstream: "https://api.example.com", secret: prod/payments/KEY, inject: bearer}
  - {name: word, match: [/word/], upstream: "https://api.example.com", secret: prod/payments/KEY, inject: basic}
  - {name: basic, match: [/basic/], upstream: "https://api.example.com", secret: prod/payments/KEY, inject: {basic: {user: "{email}/token", password: "{token}"}}}
  - {name: query, match: [/query/], upstream: "https://api.example.com", secret: prod/payments/KEY, inject: {query: key}}
  - {name: cookie, match: [/cookie/], upstream: "https://api.example.com", secret: prod/payments/KEY, inject: {cookie: sid, format: "{id}.{key}"}}
  - {name: mtls, match: [/mtls/], upstream: "https://api.example.com", secret: prod/payments/KEY, inject: mtls}
  - {name: path, match: [/path/], upstream: "https://api.example.com", secret: prod/payments/KEY, inject: {path: "/bot{secret}"}}
  - {name: sigv4, match: [/sigv4/], upstream: "https://api.example.com", secret: prod/payments/KEY, inject: {sigv4: {region: eu-central-1, service: s3}}, token_from: [x-amz-security-token]}
  - {name: token, match: [/token/], upstream: "https://api.example.com", secret: prod/payments/KEY, inject: {oauth2: {token_url: "https://login.example.com/token", client_id: gateway,
      grant: client_credentials, auth: basic, scopes: [read], params: {audience: a}, as: {header: X-Token, format: "Token {token}"}, private: [10.0.0.0/8], ca: ca.pem}}}
  - {name: app, match: [/app/], upstream: "https://api.github.com", secret: prod/payments/KEY, inject: {github_app: {app: "12345", installation: 678, repositories: [api],
      permissions: {contents: read}, api: "https://api.github.com", as: {basic: x-access-token}, private: [10.0.0.0/8], ca: ca.pem}}}
  - {name: open, match: [/open/], upstream: "https://static.example.com", allow: anyone}
audit: {dir: audit, key: "${file:audit.key}", wait: 1s, mode: strict, segment_size: 64MiB}
telemetry:
  otlp: {endpoint: "https://collector.example.com:4317", protocol: grpc, headers: {x-token: "${file:bws-prod}"}, ca: ca.pem}
  sample: 0.1
  identities: pseudonymous
  pseudonym_key: "${file:fingerprint.key}"
  service_name: vaultspan
  resource: {team: a}
  log_level: info
  max_series: 200
`

// structural is what Load says of structure, which the schema must know too.
var structural = regexp.MustCompile(`is not a key|has no value|is empty$|is empty: |empty list|is not a (duration|size|level|range)|must be a plain word|` +
	`a secret is not written|only secrets are read|want (keys and|names with|a list|one value|true or|a whole|a number|a word|the word)`)

// syntax are the fields of text with a syntax that the schema leaves to Load.
// In every other field in which Load refuses a word, the schema does too.
var syntax = regexp.MustCompile(`^(listen|admin\.listen|tls(\.\w+)?|policy\.(deny\[0\]|replace)|issuers\[0\]\.ca|routes\[\d+\]\.inject\.\w+\.ca|vaults\.prod\.bitwarden\.ca|telemetry\.otlp\.ca|` +
	`routes\[\d+\]\.(match\[0\]|strip|allow\[0\]|origins\[0\]|upstream_tls\.ca)|roles\.reader\.members\[\d\]\.issuer)$`)

// A configuration with everything, changed in one place to whatever might be
// there: what the schema refuses, Load refuses there, and what Load refuses
// there for its structure, the schema refuses.
func TestSchemaAgreesWithLoad(t *testing.T) {
	dir := t.TempDir()
	for _, s := range append(secrets(t), section{"deny.rego", "package vaultspan.deny\n"}, section{"whole.rego", "package vaultspan\n"}) {
		if err := os.WriteFile(filepath.Join(dir, s.name), []byte(s.text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(fullConfig), &doc); err != nil {
		t.Fatal(err)
	}
	full := instance(&doc).(object)
	schema, n := compiled(t), 0
	routes := full["routes"].([]any)
	compare := func(key string, value any) { // each section and route by itself: it is quicker
		a := &agreement{T: t, path: filepath.Join(dir, "vaultspan.yaml"), schema: schema, known: map[string]bool{}}
		a.whole = object{"routes": routes[len(routes)-1:], "audit": object{"dir": "audit", "key": "${file:audit.key}"}}
		a.whole[key] = value
		a.start()
		a.in("", a.whole, key)
		n += a.n
	}
	for key, value := range full {
		if key != "routes" {
			compare(key, value)
		}
	}
	for i := range routes {
		compare("routes", routes[i:i+1:i+1])
	}
	t.Logf("%d configurations", n)
	if n < 2000 {
		t.Errorf("only %d configurations were tried", n)
	}
}
