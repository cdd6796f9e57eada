package vault

import (
	"fmt"
	"maps"
	"slices"

	"go.opentelemetry.io/otel/trace"
)

// Change is a version of a bound secret that appeared, took another's place,
// or went away: what the audit log records, without the value.
type Change struct {
	Secret      string            // vault/collection/name, as bound
	ID          string            // the secret's id at the secret manager
	Version     string            // empty: the secret went away
	Fingerprint string            // empty: the secret went away
	Previous    string            // the version before; empty: the secret appeared
	Span        trace.SpanContext // of the fetch; invalid when the secret went away
}

// String says what changed, in words.
func (c Change) String() string {
	switch {
	case c.Version == "":
		return fmt.Sprintf("secret %s (%s) went away; it was version %s", c.Secret, c.ID, c.Previous)
	case c.Previous == "":
		return fmt.Sprintf("secret %s (%s) appeared as version %s", c.Secret, c.ID, c.Version)
	}
	return fmt.Sprintf("secret %s (%s) changed from version %s to %s", c.Secret, c.ID, c.Previous, c.Version)
}

// changes compares what two views hold, by the secrets' ids.
func changes(before, after *view) []Change {
	old, now := before.byID(), after.byID()
	var all []Change
	for _, id := range slices.Sorted(maps.Keys(old)) {
		if now[id] == nil {
			h := old[id]
			all = append(all, Change{Secret: h.key.secret, ID: id, Previous: h.version.name})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(now)) {
		h := now[id]
		c := Change{Secret: h.key.secret, ID: id, Version: h.version.name, Fingerprint: h.version.fingerprint, Span: h.version.span}
		if was := old[id]; was != nil {
			c.Previous = was.version.name
		}
		if c.Previous != c.Version {
			all = append(all, c)
		}
	}
	return all
}

// byID is one holding of each secret whose value is held.
func (v *view) byID() map[string]*holding {
	all := make(map[string]*holding)
	for _, h := range v.order {
		if h.version != nil && all[h.id] == nil {
			all[h.id] = h
		}
	}
	return all
}
