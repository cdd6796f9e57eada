package telemetry

import (
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Config is the telemetry section.
type Config struct {
	// OTLP is where traces, metrics and logs are sent. Default: what the
	// standard OTEL_EXPORTER_OTLP_* variables say; without them, nowhere.
	OTLP OTLP `yaml:"otlp"`
	// Sample is the share of requests whose trace is sent, from 0 to 1. Every
	// request has a trace id whether it is sent or not, and the fetches of
	// secrets and keys are always sent. Default: OTEL_TRACES_SAMPLER's, else 1.
	Sample *float64 `yaml:"sample"`
	// Identities says how spans name callers: pseudonymous (the default), a
	// keyed hash that is equal for equal callers, or plain.
	Identities string `yaml:"identities"`
	// PseudonymKey keys the hash, so that pseudonyms survive a restart and agree
	// between instances. Default: a random key for each start.
	PseudonymKey func() string `yaml:"pseudonym_key"`
	// ServiceName is the resource's service.name. Default: OTEL_SERVICE_NAME,
	// else vaultspan.
	ServiceName string `yaml:"service_name"`
	// Resource adds attributes to the resource, such as
	// deployment.environment.name; they win over OTEL_RESOURCE_ATTRIBUTES.
	Resource map[string]string `yaml:"resource"`
	// LogLevel is the lowest level that is logged: debug, info, warn or error.
	// No level logs headers, tokens or secrets. Default: info.
	LogLevel slog.Level `yaml:"log_level"`
	// MaxSeries is how many attribute sets one metric may have; further ones are
	// counted together. Raise it with more than some forty routes. Default: 200.
	MaxSeries int `yaml:"max_series"`
}

// OTLP is one collector for all three signals. When Endpoint is given, no
// OTEL_EXPORTER_OTLP_* variable is read: the file alone says where data goes.
type OTLP struct {
	// Endpoint is the collector's URL: https://host:port, or http:// without
	// headers (or on loopback). With protocol http, /v1/traces and its siblings
	// are appended to its path.
	Endpoint string `yaml:"endpoint"`
	// Protocol is grpc (the default) or http, which is protobuf over HTTP.
	Protocol string `yaml:"protocol"`
	// Headers go with every export, such as lightstep-access-token. Their values
	// are secrets.
	Headers map[string]func() string `yaml:"headers"`
	// CA is a PEM file of the certificate authorities of the collector. Default:
	// the system's.
	CA string `yaml:"ca"`
}

// Check reports everything that is wrong with the section by itself.
func (c Config) Check(report func(path, problem string)) {
	c.OTLP.check(func(path, problem string) { report("otlp."+path, problem) })
	if s := c.Sample; s != nil && !(*s >= 0 && *s <= 1) {
		report("sample", "write a share from 0 to 1, such as 0.1")
	}
	if !slices.Contains([]string{"", "pseudonymous", "plain"}, c.Identities) {
		report("identities", fmt.Sprintf("%q is not known here: write pseudonymous or plain", c.Identities))
	}
	if c.PseudonymKey != nil && c.Identities == "plain" {
		report("pseudonym_key", "identities: plain hashes nothing: remove one of the two")
	}
	if c.PseudonymKey != nil && len(c.PseudonymKey()) < 16 {
		report("pseudonym_key", "too short to keep pseudonyms from being guessed: write 16 bytes or more, such as from openssl rand -hex 32")
	}
	for key := range c.Resource {
		if key == "" {
			report("resource", "a resource attribute needs a name, such as deployment.environment.name")
		}
	}
	if c.MaxSeries < 0 {
		report("max_series", "a limit cannot be negative")
	}
}

// check reports what is wrong with where data would go.
func (o OTLP) check(report func(path, problem string)) {
	if o.Endpoint == "" {
		if o.Protocol != "" || len(o.Headers) > 0 || o.CA != "" {
			report("endpoint", "nothing is sent without an endpoint, such as https://collector.example.com:4317")
		}
		return
	}
	if !slices.Contains([]string{"", "grpc", "http"}, o.Protocol) {
		report("protocol", fmt.Sprintf("%q is not known here: write grpc or http", o.Protocol))
	}
	for name := range o.Headers {
		if !httpguts.ValidHeaderFieldName(name) || strings.HasPrefix(name, ":") {
			report("headers", fmt.Sprintf("%q is not the name of a header", name))
		} else if value := o.Headers[name]; value != nil && !httpguts.ValidHeaderFieldValue(value()) {
			report("headers."+name, "the value cannot be sent in a header: does the file hold one line of text?")
		}
	}
	u, err := parseEndpoint(o.Endpoint)
	switch {
	case err != nil:
		report("endpoint", err.Error())
	case u.Scheme == "http" && len(o.Headers) > 0 && !loopback(u.Hostname()):
		report("endpoint", "the headers would be sent in clear: write https://, or send to a collector on loopback")
	case u.Scheme == "http" && o.CA != "":
		report("ca", "http:// has no certificate to verify: write https:// in endpoint")
	case u.Path != "" && u.Path != "/" && o.Protocol != "http":
		report("endpoint", "gRPC has no path: remove it, or write protocol: http")
	}
}

// parseEndpoint reads the URL of a collector. Its errors never quote it: a URL
// is a place where people put tokens.
func parseEndpoint(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.Opaque != "" {
		return nil, fmt.Errorf("not the URL of a collector: write https://host:port")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("write https://host:port without user, query or fragment: a token goes into headers")
	}
	return u, nil
}

// loopback says whether a host can only be this machine.
func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}
