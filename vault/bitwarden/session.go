//go:build cgo

package bitwarden

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

// A session is what a Client knows about its login.
type session struct {
	open    bool      // a login succeeded and no 401 came since
	fresh   bool      // logged in during this Fetch: not again
	account string    // the machine account's id, as of the last login
	refused int       // logins in a row that the server did not accept
	after   time.Time // no login before
}

// patience is how long after a refused login the next is tried. A revoked token
// does not come back, and a storm of logins gets the whole address locked out;
// but an identity service has been wrong before, so it is never given up.
func patience(refused int) time.Duration {
	switch refused {
	case 1:
		return 30 * time.Second
	case 2:
		return 2 * time.Minute
	}
	return 15 * time.Minute
}

// read makes one call that needs a session. A 401 makes it log in again, once
// in a Fetch: the SDK never does.
func read[T any](ctx context.Context, c *Client, run func(client) (T, error)) (T, *call, *vault.SourceError) {
	var none T
	if !c.session.open {
		if failure := c.login(ctx); failure != nil {
			return none, nil, failure
		}
	}
	value, seen, failure := do(ctx, c, run)
	if failure != nil && failure.Status == http.StatusUnauthorized && !seen.atLogin && !c.session.fresh {
		if failure := c.login(ctx); failure != nil {
			return none, nil, failure
		}
		value, seen, failure = do(ctx, c, run)
	}
	switch {
	case failure == nil:
		c.session.refused = 0 // only a read proves a login: the SDK reports some as successful that were not
	case failure.Reason == vault.Unauthorized:
		c.refuse()
	}
	return value, seen, failure
}

// login opens a session, unless one was refused a short while ago.
func (c *Client) login(ctx context.Context) *vault.SourceError {
	if wait := c.session.after.Sub(c.plan.Now()); wait > 0 {
		return &vault.SourceError{
			Reason: vault.Unauthorized, RetryAfter: wait,
			Err: fmt.Errorf("%s did not accept the access token; the next login is tried in %s", c.plan.identity.Host, wait.Round(time.Second)),
		}
	}
	c.session.open = false
	_, seen, failure := do(ctx, c, func(sdk client) (struct{}, error) {
		return struct{}{}, sdk.AccessTokenLogin(c.plan.Config.AccessToken(), nil) // no state file: it "logs in" after a revocation
	})
	if failure != nil && errors.Is(failure, errSDK) {
		failure.Reason = vault.Unauthorized
		failure.Err = fmt.Errorf("%s accepts the access token, but its key, behind the colon, does not open the organization's: mistyped?", c.plan.identity.Host)
	}
	if failure != nil && failure.Reason == vault.Unauthorized {
		c.refuse()
		return failure
	}
	if failure != nil {
		return failure
	}
	c.session.open, c.session.fresh, c.session.account = true, true, seen.account
	return nil
}

// refuse notes that the server does not accept the access token, and says so
// the first time.
func (c *Client) refuse() {
	c.session.open = false
	c.session.refused++
	c.session.after = c.plan.Now().Add(patience(c.session.refused))
	if c.session.refused == 1 {
		c.plan.Logger.Error("bitwarden does not accept the access token of this vault: replace it", "server", c.plan.identity.Host)
	}
}
