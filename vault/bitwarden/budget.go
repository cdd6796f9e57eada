package bitwarden

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/vaultspan/vaultspan/vault"
)

// Budgets holds one budget of requests for each server address. Bitwarden
// counts by the caller's address, not by the account, so all vaults of a
// process share one Budgets. The zero value is ready.
type Budgets struct {
	// Times multiplies what a server is asked at most, for a server of a test
	// that counts nothing. Default: 1.
	Times int

	mu      sync.Mutex
	servers map[string]*budget
}

// A spending is what a request is counted as.
type spending int

const (
	get spending = iota
	post
	login
)

// A budget keeps below what Bitwarden's cloud allows one address: 200 GET and
// 60 POST a minute, five POST a second, ten logins a minute. Within any minute
// it lets through at most the bucket and a minute's refill: 120, 40 and 8.
type budget struct {
	limits [3]*rate.Limiter

	mu    sync.Mutex
	until time.Time // the server asked for silence until then
}

// of returns the budget of u's server.
func (b *Budgets) of(u *url.URL) *budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.servers == nil {
		b.servers = make(map[string]*budget)
	}
	host := strings.ToLower(u.Host)
	if b.servers[host] == nil {
		times := max(b.Times, 1)
		minutely := func(n float64, bucket int) *rate.Limiter {
			return rate.NewLimiter(rate.Limit(n/60*float64(times)), bucket*times)
		}
		b.servers[host] = &budget{limits: [3]*rate.Limiter{get: minutely(100, 20), post: minutely(36, 4), login: minutely(3, 5)}}
	}
	return b.servers[host]
}

// spend waits for room in the budget. When that would take longer than ctx has,
// or the server asked for silence, it is Throttled at once, and nothing is
// spent.
func (b *budget) spend(ctx context.Context, s spending) *vault.SourceError {
	b.mu.Lock()
	silence := time.Until(b.until)
	b.mu.Unlock()
	if silence > 0 {
		return throttled(silence, errors.New("the server asked to wait"))
	}
	place := b.limits[s].Reserve()
	wait := place.Delay()
	if deadline, ok := ctx.Deadline(); ok && wait > 0 && time.Until(deadline) < wait {
		place.Cancel()
		return throttled(wait, errors.New("our own budget of requests to this server is used up"))
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		place.Cancel()
		return &vault.SourceError{Reason: vault.Unreachable, Err: ctx.Err()}
	}
}

func throttled(wait time.Duration, err error) *vault.SourceError {
	return &vault.SourceError{Reason: vault.Throttled, RetryAfter: wait, Err: fmt.Errorf("%w: %s left", err, wait.Round(time.Second))}
}

// Silence after a 429: what the server asks for within bounds, so that a wrong
// answer cannot silence a vault for ever.
const (
	defaultSilence = 5 * time.Second
	maxSilence     = 10 * time.Minute
)

// silence keeps requests to this server back for as long as a 429's
// Retry-After says (RFC 9110 section 10.2.3: seconds or a date), and returns
// how long that is.
func (b *budget) silence(retryAfter string) time.Duration {
	wait := defaultSilence
	if seconds, err := strconv.ParseUint(retryAfter, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(retryAfter); err == nil {
		wait = time.Until(date)
	}
	wait = min(max(wait, time.Second), maxSilence)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until = time.Now().Add(wait)
	return wait
}
