package authn

import (
	"context"
	"fmt"
	"slices"
	"time"

	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

// Probe does once what an Authenticator does again and again: discovery and the
// key set. It returns the first problem.
func Probe(ctx context.Context, c IssuerConfig) error {
	with := Config{Issuers: []IssuerConfig{c}, Tracer: tracenoop.NewTracerProvider(), Now: time.Now}
	if err := with.check(); err != nil {
		return err
	}
	i, err := with.issuer(ctx, c)
	if err != nil {
		return fmt.Errorf("issuer %s: %w", c.Name, err)
	}
	defer i.provider.client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, fetchBudget)
	defer cancel()
	keys, err := i.provider.fetch(ctx)
	if err != nil {
		return fmt.Errorf("issuer %s: %w", c.Name, err)
	}
	for _, k := range keys {
		for _, alg := range k.algorithms {
			if slices.Contains(i.algorithms, alg) {
				return nil
			}
		}
	}
	return fmt.Errorf("issuer %s: none of its keys is for an algorithm in algorithms", c.Name)
}
