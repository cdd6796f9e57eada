package telemetry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The signals, as OTEL_… variables, logs and metrics name them.
const (
	traces  = "traces"
	metrics = "metrics"
	logs    = "logs"
)

// target is where one signal goes, whoever said so.
type target struct {
	signal  string
	grpc    bool
	url     *url.URL // of HTTP: with the signal's path
	headers map[string]func() string
	tls     *tls.Config // nil exactly for http://: there is nothing to fall back to
	timeout time.Duration
}

// targets reads the section or, when that names no endpoint, the standard
// variables. We read these ourselves although the exporters could: they log the
// text of what they cannot parse, which may be a header's value.
func targets(c Config, getenv func(string) string) ([]target, error) {
	if disabled, _ := strconv.ParseBool(getenv("OTEL_SDK_DISABLED")); disabled && c.OTLP.Endpoint == "" {
		return nil, nil
	}
	var list []target
	for _, signal := range []string{traces, metrics, logs} {
		t, err := configured(c.OTLP, signal)
		if c.OTLP.Endpoint == "" {
			t, err = environment(getenv).target(signal)
		}
		if err != nil {
			return nil, err
		}
		if t != nil {
			list = append(list, *t)
		}
	}
	return list, nil
}

// configured is the target of a signal by the section.
func configured(o OTLP, signal string) (*target, error) {
	if o.Endpoint == "" {
		return nil, nil
	}
	u, err := parseEndpoint(o.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("telemetry.otlp.endpoint: %w", err)
	}
	t := &target{signal: signal, grpc: o.Protocol != "http", url: u, headers: o.Headers, timeout: 10 * time.Second}
	if !t.grpc {
		t.url = u.JoinPath("v1", signal)
	}
	if t.url.Scheme == "https" {
		if t.tls, err = verify(o.CA); err != nil {
			return nil, fmt.Errorf("telemetry.otlp.ca: %w", err)
		}
	}
	return t, nil
}

// environment reads OTEL_EXPORTER_OTLP_* as the OpenTelemetry specification
// 1.50, "OpenTelemetry Protocol Exporter", says.
type environment func(string) string

// target is the target of a signal by the environment, or nil.
func (env environment) target(signal string) (*target, error) {
	switch exporter := env("OTEL_" + strings.ToUpper(signal) + "_EXPORTER"); exporter {
	case "none":
		return nil, nil
	case "otlp":
	case "":
		if v, _ := env.otlp(signal, "ENDPOINT"); v == "" {
			return nil, nil // the specification sends to localhost; we send nowhere unasked
		}
	default:
		return nil, fmt.Errorf("OTEL_%s_EXPORTER: vaultspan knows otlp and none", strings.ToUpper(signal))
	}
	t := &target{signal: signal, timeout: 10 * time.Second}
	switch protocol, name := env.otlp(signal, "PROTOCOL"); protocol {
	case "grpc":
		t.grpc = true
	case "", "http/protobuf":
	default:
		return nil, fmt.Errorf("%s: vaultspan knows grpc and http/protobuf", name)
	}
	if err := env.endpoint(t); err != nil {
		return nil, err
	}
	if err := env.headers(t); err != nil {
		return nil, err
	}
	if v, name := env.otlp(signal, "TIMEOUT"); v != "" {
		ms, err := strconv.Atoi(v)
		if err != nil || ms < 1 {
			return nil, fmt.Errorf("%s: want milliseconds", name)
		}
		t.timeout = time.Duration(ms) * time.Millisecond
	}
	return t, env.tls(t)
}

// otlp is the variable of the signal, else the one of all signals.
func (env environment) otlp(signal, name string) (value, from string) {
	from = "OTEL_EXPORTER_OTLP_" + strings.ToUpper(signal) + "_" + name
	if value = env(from); value != "" {
		return value, from
	}
	from = "OTEL_EXPORTER_OTLP_" + name
	return env(from), from
}

func (env environment) endpoint(t *target) error {
	raw, name := env.otlp(t.signal, "ENDPOINT")
	if raw == "" {
		raw = "http://localhost:4318"
		if t.grpc {
			raw = "http://localhost:4317"
		}
	}
	if t.grpc && !strings.Contains(raw, "://") { // host:port, with INSECURE to say which
		insecure, _ := env.otlp(t.signal, "INSECURE")
		raw = map[bool]string{true: "http://", false: "https://"}[strings.EqualFold(insecure, "true")] + raw
	}
	u, err := parseEndpoint(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !t.grpc && name == "OTEL_EXPORTER_OTLP_ENDPOINT" {
		u = u.JoinPath("v1", t.signal) // a signal's own endpoint is used as it is
	}
	t.url = u
	return nil
}

func (env environment) headers(t *target) error {
	list, name := env.otlp(t.signal, "HEADERS")
	t.headers = make(map[string]func() string)
	err := pairs(list, func(key, value string) {
		t.headers[key] = func() string { return value }
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	check := OTLP{Endpoint: t.url.Scheme + "://" + t.url.Host, Headers: t.headers}
	check.check(func(_, problem string) { err = fmt.Errorf("%s: %s", name, problem) })
	return err
}

func (env environment) tls(t *target) error {
	if t.url.Scheme != "https" {
		return nil
	}
	ca, name := env.otlp(t.signal, "CERTIFICATE")
	c, err := verify(ca)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	cert, name := env.otlp(t.signal, "CLIENT_CERTIFICATE")
	key, _ := env.otlp(t.signal, "CLIENT_KEY")
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	t.tls = c
	return nil
}

// verify is TLS by the authorities of a PEM file, or by the system's.
func verify(ca string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca == "" {
		return c, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("read certificate authorities: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", ca)
	}
	return c, nil
}

// pairs reads key=value,key=value with percent-encoded values, as the headers
// and the resource attributes are written. Its error quotes nothing.
func pairs(list string, each func(key, value string)) error {
	for i, pair := range slices.Collect(strings.SplitSeq(list, ",")) {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if key = strings.TrimSpace(key); !ok || key == "" || err != nil {
			return fmt.Errorf("entry %d is not key=value with a percent-encoded value", i+1)
		}
		each(key, value)
	}
	return nil
}

// ratio is the share of requests to sample by the section, else by
// OTEL_TRACES_SAMPLER. A parent is never asked, so parentbased_x is x.
func ratio(c Config, getenv func(string) string) (float64, error) {
	if c.Sample != nil {
		return *c.Sample, nil
	}
	switch strings.TrimPrefix(getenv("OTEL_TRACES_SAMPLER"), "parentbased_") {
	case "", "always_on":
		return 1, nil
	case "always_off":
		return 0, nil
	case "traceidratio":
		arg := getenv("OTEL_TRACES_SAMPLER_ARG")
		if arg == "" {
			return 1, nil
		}
		share, err := strconv.ParseFloat(arg, 64)
		if err != nil || !(share >= 0 && share <= 1) {
			return 0, errors.New("OTEL_TRACES_SAMPLER_ARG: want a share from 0 to 1")
		}
		return share, nil
	}
	return 0, errors.New("OTEL_TRACES_SAMPLER: vaultspan knows always_on, always_off and traceidratio")
}
