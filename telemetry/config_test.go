package telemetry_test

import (
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/telemetry"
)

func TestCheckNamesWhatIsWrongAndQuotesNoSecret(t *testing.T) {
	share := func(f float64) *float64 { return &f }
	headers := map[string]func() string{"x-token": secret(canary)}
	for name, c := range map[string]struct {
		config telemetry.Config
		path   string // of the one problem; "" for none
	}{
		"nothing at all":           {telemetry.Config{}, ""},
		"a collector":              {telemetry.Config{OTLP: telemetry.OTLP{Endpoint: "https://c.example.com:4317", Headers: headers}, Sample: share(0)}, ""},
		"one on loopback":          {telemetry.Config{OTLP: telemetry.OTLP{Endpoint: "http://127.0.0.1:4318/base", Protocol: "http", Headers: headers}}, ""},
		"plaintext, no headers":    {telemetry.Config{OTLP: telemetry.OTLP{Endpoint: "http://collector:4317"}}, ""},
		"headers in plaintext":     {telemetry.Config{OTLP: telemetry.OTLP{Endpoint: "http://collector:4317", Headers: headers}}, "otlp.endpoint"},
		"headers to nowhere":       {telemetry.Config{OTLP: telemetry.OTLP{Headers: headers}}, "otlp.endpoint"},
		"a token in the URL":       {telemetry.Config{OTLP: telemetry.OTLP{Endpoint: "https://c.example.com?token=" + canary}}, "otlp.endpoint"},
		"a user in the URL":        {telemetry.Config{OTLP: telemetry.OTLP{Endpoint: "https://u:" + canary + "@c.example.com"}}, "otlp.endpoint"},
		"no scheme":                {telemetry.Config{OTLP: telemetry.OTLP{Endpoint: "c.example.com:4317"}}, "otlp.endpoint"},
		"a path for gRPC":          {telemetry.Config{OTLP: telemetry.OTLP{Endpoint: "https://c.example.com/otlp"}}, "otlp.endpoint"},
		"another protocol":         {telemetry.Config{OTLP: telemetry.OTLP{Endpoint: "https://c.example.com", Protocol: "json"}}, "otlp.protocol"},
		"authorities of plaintext": {telemetry.Config{OTLP: telemetry.OTLP{Endpoint: "http://localhost:4317", CA: "ca.pem"}}, "otlp.ca"},
		"a header's name":          {telemetry.Config{OTLP: telemetry.OTLP{Endpoint: "https://c.example.com", Headers: map[string]func() string{"x token": secret("a")}}}, "otlp.headers"},
		"two lines in a header":    {telemetry.Config{OTLP: telemetry.OTLP{Endpoint: "https://c.example.com", Headers: map[string]func() string{"x": secret(canary + "\nb")}}}, "otlp.headers.x"},
		"more than all":            {telemetry.Config{Sample: share(1.1)}, "sample"},
		"half a word":              {telemetry.Config{Identities: "plai"}, "identities"},
		"a key for nothing":        {telemetry.Config{Identities: "plain", PseudonymKey: secret("0123456789abcdef")}, "pseudonym_key"},
		"a key too short":          {telemetry.Config{PseudonymKey: secret("CANARY-0123")}, "pseudonym_key"},
		"fewer than no series":     {telemetry.Config{MaxSeries: -1}, "max_series"},
	} {
		var paths []string
		c.config.Check(func(path, problem string) {
			paths = append(paths, path)
			if strings.Contains(problem, "CANARY") {
				t.Errorf("%s: quotes a secret: %s", name, problem)
			}
		})
		if got := strings.Join(paths, " "); got != c.path {
			t.Errorf("%s: problems at %q, want %q", name, got, c.path)
		}
	}
}

func BenchmarkUserID(b *testing.B) {
	tel, err := telemetry.Start(b.Context(), telemetry.Setup{})
	if err != nil {
		b.Fatal(err)
	}
	defer tel.Shutdown(b.Context())
	for b.Loop() {
		tel.UserID("corp", "alice@example.com")
	}
}
