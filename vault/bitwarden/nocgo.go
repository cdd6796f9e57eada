//go:build !cgo

package bitwarden

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/vault"
)

// errNoCgo is the whole of this package without cgo.
var errNoCgo = errors.New("this binary was built without Bitwarden's SDK: build it with CGO_ENABLED=1 and a C compiler")

// A Client cannot be had without cgo.
type Client struct{}

// New says that the SDK is missing.
func New(Setup) (*Client, error) { return nil, errNoCgo }

// Close does nothing.
func (*Client) Close() {}

// Fetch says that the SDK is missing.
func (*Client) Fetch(context.Context, time.Time, func(vault.Ref) bool) (vault.Snapshot, error) {
	return vault.Snapshot{}, &vault.SourceError{Reason: vault.Unreachable, Err: errNoCgo}
}

// Read says that the SDK is missing.
func (*Client) Read(context.Context, string) (vault.Secret, trace.SpanContext, error) {
	return vault.Secret{}, trace.SpanContext{}, &vault.SourceError{Reason: vault.Unreachable, Err: errNoCgo}
}

// Probe says that the SDK is missing.
func Probe(context.Context, Setup) (string, error) { return "", errNoCgo }
