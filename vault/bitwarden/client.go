//go:build cgo

package bitwarden

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/telemetry/attr"
	"github.com/vaultspan/vaultspan/vault"
)

// A Client is the vault.Source of one machine account with one access token.
// Another access token needs another Client.
type Client struct {
	plan   plan
	bridge *bridge
	sdk    client
	busy   chan struct{} // holds one while a call into the SDK is under way

	mu       sync.Mutex // one Fetch at a time; guards what follows
	session  session
	projects map[string]string    // as of the last Fetch
	names    map[string]named     // by project id, when the list has one that cannot be decrypted
	suspects map[string]struct{}  // ids that could not be read by the last Fetch
	held     map[string]secretRow // during fetchByID, what calls are answered from
}

// New makes a Client. It asks no server; the first Fetch logs in.
func New(s Setup) (*Client, error) {
	plan, err := s.check()
	if err != nil {
		return nil, err
	}
	bridge, err := listen(plan)
	if err != nil {
		return nil, err
	}
	sdk, err := open(bridge)
	if err != nil {
		bridge.close()
		return nil, err
	}
	return &Client{plan: plan, bridge: bridge, sdk: sdk, busy: make(chan struct{}, 1), suspects: make(map[string]struct{})}, nil
}

// Close makes every Fetch fail from now on. The SDK's client is parked, not
// closed.
func (c *Client) Close() { c.bridge.close() }

// Fetch implements vault.Source. It takes at most Config.Timeout.
func (c *Client) Fetch(ctx context.Context, since time.Time, want func(vault.Ref) bool) (vault.Snapshot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, span, end := c.trace(ctx, attr.SpanSync)
	snapshot, failure := c.fetch(ctx, since, want)
	end(failure)
	if failure != nil {
		return vault.Snapshot{}, failure
	}
	if !snapshot.Unchanged {
		snapshot.Span = span.SpanContext()
	}
	return snapshot, nil
}

// Read implements vault.Source. It takes at most Config.Timeout.
func (c *Client) Read(ctx context.Context, id string) (vault.Secret, trace.SpanContext, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, span, end := c.trace(ctx, attr.SpanRead)
	secret, failure := c.readOne(ctx, id)
	end(failure)
	if failure != nil {
		return vault.Secret{}, trace.SpanContext{}, failure
	}
	return secret, span.SpanContext(), nil
}

// Probe logs in and looks whether the machine account sees a project: what
// `check --online` asks. It returns the account's id, which is the same for all
// its access tokens. Its error says in one line what to do.
func Probe(ctx context.Context, s Setup) (account string, err error) {
	c, err := New(s)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, _, end := c.trace(ctx, attr.SpanLogin)
	projects, failure := c.listProjects(ctx)
	end(failure)
	switch {
	case failure != nil:
		return "", failure
	case len(projects) == 0:
		return "", &vault.SourceError{Reason: vault.Forbidden, Err: errors.New("the machine account sees no project: give it read access to one in Secrets Manager")}
	}
	return c.session.account, nil
}

// trace begins a trace of its own, and the time that its work may take.
func (c *Client) trace(ctx context.Context, name string) (context.Context, trace.Span, func(*vault.SourceError)) {
	c.session.fresh = false
	ctx, cancel := context.WithTimeout(ctx, c.plan.Config.Timeout)
	ctx, span := c.plan.tracer.Start(ctx, name, trace.WithNewRoot(), trace.WithAttributes(attr.Vault.String(c.plan.Name)))
	return ctx, span, func(failure *vault.SourceError) {
		if failure != nil {
			span.SetStatus(codes.Error, failure.Error())
			span.SetAttributes(attr.ErrorType.String(string(failure.Reason)))
		}
		span.End()
		cancel()
	}
}

// fetch looks whether anything moved and brings what is wanted.
func (c *Client) fetch(ctx context.Context, since time.Time, want func(vault.Ref) bool) (vault.Snapshot, *vault.SourceError) {
	known := maps.Clone(c.suspects)
	projects, failure := c.listProjects(ctx)
	if failure != nil {
		return vault.Snapshot{}, failure
	}
	if len(c.suspects) > 0 || !maps.Equal(projects, c.projects) {
		since = time.Time{} // sync would not report either kind of change
	}
	reply, seen, failure := c.sync(ctx, since)
	if failure != nil && failure.Reason == vault.Unusable && failure.Status == http.StatusBadRequest && !since.IsZero() {
		// The server's clock was set back: since is in its future.
		reply, seen, failure = c.sync(ctx, time.Time{})
	}
	var snapshot vault.Snapshot
	switch {
	case failure != nil && ofContent(failure):
		if snapshot, failure = c.fetchByID(ctx, seen, projects, want); failure != nil {
			return vault.Snapshot{}, failure
		}
	case failure != nil:
		return vault.Snapshot{}, failure
	case !reply.HasChanges:
		return vault.Snapshot{Unchanged: true, Synced: seen.asOf}, nil
	default:
		clear(c.suspects)
		snapshot = collect(projects, seen.asOf, reply.Secrets, want)
	}
	c.projects = projects
	for _, failed := range snapshot.Failed {
		c.suspects[failed.ID] = struct{}{}
		if _, ok := known[failed.ID]; !ok {
			c.plan.Logger.Warn("a secret cannot be read", "secret", failed.ID, "reason", failed.Err.Error())
		}
	}
	return snapshot, nil
}

// ofContent reports whether the server answered, but with something that cannot
// be decrypted or that is too much: one secret may be to blame.
func ofContent(failure *vault.SourceError) bool {
	return errors.Is(failure, errSDK) || errors.Is(failure, errTooLarge)
}
