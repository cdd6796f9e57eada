//go:build cgo

package bitwarden

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	bitwarden "github.com/bitwarden/sdk-go"

	"github.com/vaultspan/vaultspan/vault"
)

// A client is one client of the SDK, with the methods that are used. It has no
// Close: to call anything after, during or instead of it would end the process,
// so none is ever closed. What is no longer needed stays, at some tens of
// kilobytes, until the process ends.
type client interface {
	AccessTokenLogin(accessToken string, stateFile *string) error
	Projects() bitwarden.ProjectsInterface
	Secrets() bitwarden.SecretsInterface
}

// quiet sets the environment that the SDK reads when its first client is made.
var quiet = sync.OnceFunc(func() {
	os.Setenv("RUST_LOG", "off")
	direct := os.Getenv("NO_PROXY")
	if direct == "" {
		direct = os.Getenv("no_proxy")
	}
	os.Setenv("NO_PROXY", strings.TrimPrefix(direct+",127.0.0.1", ","))
})

// open makes a client of the SDK whose server is b.
func open(b *bridge) (client, error) {
	quiet()
	api, identity := b.base("api"), b.base("identity")
	c, err := bitwarden.NewBitwardenClient(&api, &identity)
	if err != nil {
		return nil, errors.New("the SDK did not start")
	}
	return c, nil
}

// errSDK stands for whatever the SDK said about an answer that the bridge had
// accepted: it could not be decrypted, or misses something.
var errSDK = errors.New("the answer cannot be decrypted or misses something")

// grace is how long an SDK call may go on after the bridge ended its hop.
const grace = 2 * time.Second

// do makes one call into the SDK, and returns with ctx, also if the SDK should
// not. At most one call is under way; one that does not return keeps others
// out, for a client is not to be used by two.
func do[T any](ctx context.Context, c *Client, run func(client) (T, error)) (T, *call, *vault.SourceError) {
	var none T
	seen := &call{ctx: ctx, held: c.held}
	select {
	case c.busy <- struct{}{}:
	case <-ctx.Done():
		return none, seen, &vault.SourceError{Reason: vault.Unreachable, Err: fmt.Errorf("no call into the SDK could begin: %w", ctx.Err())}
	}
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	c.bridge.current.Store(seen)
	go func() {
		value, err := run(c.sdk)
		c.bridge.current.Store(nil)
		<-c.busy
		done <- outcome{value, err}
	}()
	// The bridge ends the hop with ctx; the timer is for an SDK that then does
	// not return.
	stuck := make(chan struct{})
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, func() { close(stuck) }) })()
	select {
	case end := <-done:
		return end.value, seen, seen.verdict(end.err)
	case <-stuck:
		return none, seen, &vault.SourceError{Reason: vault.Unreachable, Err: errors.New("the SDK has not returned in time")}
	}
}

// verdict is what became of the call. What the bridge saw comes first: the SDK
// reports some refused logins as successful.
func (c *call) verdict(sdk error) *vault.SourceError {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure != nil {
		return c.failure
	}
	switch {
	case sdk == nil:
		return nil
	case !c.answered:
		return &vault.SourceError{Reason: vault.Unusable, Err: errors.New("the SDK did not ask the server")}
	}
	return unusable(errSDK)
}
