package proxy

import (
	"crypto/tls"
	"slices"
	"sync"

	"github.com/vaultspan/vaultspan/vault"
)

// present shows a client certificate to an upstream that asks for one.
type present = func(*tls.CertificateRequestInfo) (*tls.Certificate, error)

// certified holds the connections of a route whose credential is on them: a pool
// for each version of it, so that a request never goes on a connection that shows
// another version than its record says.
type certified struct {
	open func(present) *pool
	most int // pools at once: the version before has one too, while it overlaps

	mu     sync.Mutex
	pools  []versioned // the last used is the last
	closed bool
}

type versioned struct {
	version string
	pool    *pool
}

// of is the pool of a lease's version. The pools of versions that nobody asks for
// any more are closed, and their connections with the requests on them.
func (c *certified) of(l *vault.Lease) *pool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.pools, func(v versioned) bool { return v.version == l.Version() })
	found := versioned{version: l.Version()}
	if i >= 0 {
		found = c.pools[i]
		c.pools = slices.Delete(c.pools, i, i+1)
	} else {
		found.pool = c.open(l.ClientCertificate())
	}
	c.pools = append(c.pools, found)
	for len(c.pools) > c.most || c.closed && len(c.pools) > 0 {
		c.pools[0].pool.close()
		c.pools = slices.Delete(c.pools, 0, 1)
	}
	return found.pool
}

// close is pool.close, for all of them.
func (c *certified) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, v := range c.pools {
		v.pool.close()
	}
	c.pools = nil
}

// connections are those that a request with this lease may go on.
func (r *route) connections(l *vault.Lease) *pool {
	if r.certified != nil {
		return r.certified.of(l) // no lease, no request: see borrow
	}
	return r.pool
}

// close lets go of the route's connections when their requests have ended.
func (r *route) close() {
	if r.tokens != nil {
		r.tokens.close()
	}
	if r.certified != nil {
		r.certified.close()
		return
	}
	r.pool.close()
}
