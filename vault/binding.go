package vault

import "time"

// Binding ties one secret to one route, its destination and the place where
// the credential is worn. It is the operator's word: without a binding no
// request gets a Lease.
type Binding struct {
	Secret      string // vault/collection/name
	Route       string // the route's name
	Destination Destination
	Inject      Injection
	// Plaintext lets the credential go to a Destination of scheme http, on
	// loopback only. Default: https everywhere.
	Plaintext bool
	// PreserveHost says that the route passes the caller's Host on. Default:
	// Authorize refuses a request whose Host is not the Destination's, because
	// behind a shared front the Host, not the connection, chooses who gets the
	// credential. Allow it only on a route whose patterns name their host.
	PreserveHost bool
	// Overlap is how long after a rotation the version before stays usable, for
	// a destination that may not know the new one yet: see Renew. Default: not
	// at all.
	Overlap time.Duration
	// Unguarded lets the credential be one that cannot be told from other text in
	// what the upstream answers, because it is shorter than 12 bytes: its leases
	// have no Guard. Default: such a credential is refused.
	Unguarded bool
	// Generation tells the bindings of one configuration from those of another,
	// while requests of both are under way: see LeaseOf. Default: 0.
	Generation uint64
}

// Check reports every problem of the binding that can be seen offline, by the
// route's field that has it: secret, upstream or inject.
func (b Binding) Check(report func(path, problem string)) {
	if _, err := ParseReference(b.Secret); err != nil {
		report("secret", err.Error())
	}
	b.Destination.check(b.Plaintext, report)
	b.Inject.Check(func(path, problem string) {
		if path != "" {
			path = "." + path
		}
		report("inject"+path, problem)
	})
	if r, err := ParseReference(b.Secret); err == nil && r.Personal() {
		b.Inject.CheckOwn(func(problem string) { report("inject", problem) })
	}
	if b.Inject.OnConnection() && b.Destination.normal().Scheme != "https" {
		report("inject", "mtls needs TLS: give an https upstream")
	}
}

func (d Destination) check(plaintext bool, report func(path, problem string)) {
	switch d = d.normal(); {
	case !d.valid():
		report("upstream", "want https://host or https://host:port")
	case d.Scheme == "https":
	case !isLoopback(d.Host):
		report("upstream", "a credential does not travel over http: use https (http is for loopback only)")
	case !plaintext:
		report("upstream", "a credential does not travel over http: use https, or say that this loopback upstream may have it in plaintext")
	}
}
