package vault

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"
)

// Status is a Vault at one moment, without values.
type Status struct {
	Vault     string
	Refreshed time.Time     // when the last good refresh began; zero: never
	Age       time.Duration // since then
	Stale     bool          // never refreshed, or not within two refresh intervals
	Failures  int           // refreshes that failed since, in a row
	Reason    Reason        // of the last failure; empty: the last refresh was good
	Err       error         // the same in words
	Secrets   []SecretStatus
}

// SecretStatus is one binding and the version that is held for it.
type SecretStatus struct {
	Secret, Route, ID    string
	Version, Fingerprint string        // empty: no value
	Revised              time.Time     // of the version, by the secret manager's clock
	Changed              time.Time     // when the value last changed, by the same, as far as we saw it
	Age                  time.Duration // since the value was last confirmed
	Stale                bool
	Staleness            Staleness // why it is stale
	Due                  Due       // how the value stands to max_age and expires
	MaxAge               MaxAge    // the narrower of the configuration's and the note's
	Expires              time.Time // by the note; zero: it does not say
	Until                time.Time // when the value is not used any more, by either; zero: never
	Owner                string    // by the note: people's own words
	Uses                 int64     // times the credential was put on a request, since the start
	LastUsed             time.Time // to the second; zero: not since the start
	Err                  error     // why no lease is given; nil: one is
	People               int       // of callers' own secrets: for how many one is held
}

// Status reports on the vault and on each binding, in the order of the bindings.
func (v *Vault) Status() Status {
	now, view := v.now(), v.view.Load()
	s := Status{Vault: v.name, Refreshed: view.refreshed, Failures: view.failures, Err: view.failure, Stale: true}
	if e, ok := errors.AsType[*SourceError](view.failure); ok {
		s.Reason = e.Reason
	}
	if !view.refreshed.IsZero() {
		s.Age = elapsed(view.refreshed, now)
		s.Stale = s.Age > 2*v.config.Refresh
	}
	for _, h := range view.order {
		one := SecretStatus{Secret: h.key.secret, Route: h.key.route, ID: h.id}
		if h.version != nil {
			one.Version, one.Fingerprint, one.Revised = h.version.name, h.version.fingerprint, h.version.revised
			one.Age = elapsed(h.confirmed, now)
			one.Staleness = v.staleness(h, one.Age, now)
			one.Stale = one.Staleness != NotStale
			one.Changed, one.Due = h.version.changed, h.limits.due(now)
			one.MaxAge, one.Expires, one.Until, one.Owner = h.limits.maxAge, h.limits.expires, h.limits.refuse, h.terms.owner
		}
		if h.uses != nil {
			one.Uses = h.uses.fresh.Load() + h.uses.stale.Load()
			if last := h.uses.last.Load(); last > 0 {
				one.LastUsed = time.Unix(last, 0).UTC()
			}
		}
		if h.personal {
			one.People = v.people.count(h.key.secret)
		}
		one.Err = v.refusal(h, now)
		s.Secrets = append(s.Secrets, one)
	}
	return s
}

// Ready says why no lease of a secret would be given, for any route that it is
// bound to, or nil.
func (v *Vault) Ready(secret string) error {
	now, bound := v.now(), false
	for _, h := range v.view.Load().order {
		if h.key.secret != secret {
			continue
		}
		bound = true
		if err := v.refusal(h, now); err != nil {
			return err
		}
	}
	if !bound {
		return &LeaseError{NotBound, secret, errors.New("no binding of this secret")}
	}
	return nil
}

// refusal is error(nil), not a nil *LeaseError, when there is none.
func (v *Vault) refusal(h *holding, now time.Time) error {
	if h.refusal != nil {
		return h.refusal
	}
	if age := elapsed(h.confirmed, now); age > v.config.MaxStale {
		return v.tooStale(h.key.secret, age)
	}
	if err := h.limits.tooLate(now); err != nil {
		return &LeaseError{NoCredential, h.key.secret, err}
	}
	return nil
}

// Problem is a binding that is closed until an operator acts.
type Problem struct {
	Route  string
	Secret string // vault/collection/name
	Text   string // what is wrong and what to do; never a value
}

// Problems lists the bindings that are closed for want of a usable value:
// collections and secrets that do not exist, names that match two, values that
// their place cannot carry, that their notes keep from here, or that are too
// old. It knows them after the first good refresh.
func (v *Vault) Problems() []Problem {
	var all []Problem
	now := v.now()
	for _, h := range v.view.Load().order {
		if text := cmp.Or(h.problem(), text(h.limits.tooLate(now))); text != "" {
			all = append(all, Problem{h.key.route, h.key.secret, text})
		}
	}
	return all
}

// problem is what only an operator can mend, or empty.
func (h *holding) problem() string {
	if h.refusal != nil && h.refusal.Reason == NoCredential {
		return h.refusal.Err.Error()
	}
	return ""
}

// trouble is a problem, or that the secret cannot be read, or empty.
func (h *holding) trouble() string {
	if h.unreadable != nil {
		return h.unreadable.Error()
	}
	return h.problem()
}

// tell logs what an operator should hear of, once: a refresh that begins to
// fail or fails differently, the first good one after, and each binding that
// closes or opens.
func (v *Vault) tell(before, after *view) {
	ctx := context.Background()
	switch was, is := text(before.failure), text(after.failure); {
	case is == was:
	case is != "":
		message := "vault refresh fails: values are served until max_stale"
		if after.refreshed.IsZero() {
			message = "vault refresh fails: there is no value to serve yet"
		}
		level := slog.LevelWarn
		if errors.Is(after.failure, errSuccessor) {
			level = slog.LevelError // it does not mend itself
		}
		v.log.Log(ctx, level, message, "error", is, "failures", after.failures)
	default:
		v.log.InfoContext(ctx, "vault refresh works again", "failures", before.failures)
	}
	troubles := make(map[key]string, len(before.order)) // of any generation
	due := make(map[key]Due, len(before.order))
	for _, h := range before.order {
		k := key{route: h.key.route, secret: h.key.secret}
		troubles[k], due[k] = h.trouble(), h.due
	}
	for _, h := range after.order {
		was, is := troubles[key{route: h.key.route, secret: h.key.secret}], h.trouble()
		log := v.log.With(slog.String("secret", h.key.secret), slog.String("route", h.key.route))
		switch {
		case is == was:
		case is != "" && h.refusal == nil:
			log.ErrorContext(ctx, "secret cannot be read: its last value is served until max_stale", "error", is)
		case is != "":
			log.ErrorContext(ctx, "secret refused: the route is closed", "error", is)
		default:
			log.InfoContext(ctx, "secret usable again", "id", h.id)
		}
		h.tellDue(ctx, log, due[key{route: h.key.route, secret: h.key.secret}], after.published)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
