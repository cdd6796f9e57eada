package vault

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Due says how a value stands to max_age and expires.
type Due int

// What is due is to be rotated.
const (
	NotDue  Due = iota
	DueSoon     // past warn of max_age, or expires within 14 days
	Overdue     // past stale of max_age: uses are marked as stale
	TooLate     // past refuse of max_age, or expired: not used any more
)

// expiresSoon is how long before expires a secret is due for rotation.
const expiresSoon = 14 * 24 * time.Hour

// limits are the instants at which a version becomes due, so that a lease
// compares times and computes nothing. The zero limits are never reached.
//
// They are by the wall clock, and max_age counts by the secret manager's: a
// clock of ours that is set back makes a value look younger.
type limits struct {
	first               time.Time // of the next three
	warn, stale, refuse time.Time // zero: never
	maxAge              MaxAge
	expires             time.Time
}

// limitsOf are those of a value that was last changed at changed.
func limitsOf(changed time.Time, maxAge MaxAge, expires time.Time) limits {
	after := func(age time.Duration) time.Time {
		if age == 0 {
			return time.Time{}
		}
		return changed.Add(age)
	}
	l := limits{warn: after(maxAge.Warn), stale: after(maxAge.Stale), refuse: after(maxAge.Refuse), maxAge: maxAge, expires: expires}
	if !expires.IsZero() {
		l.warn = earlier(l.warn, expires.Add(-expiresSoon))
		l.refuse = earlier(l.refuse, expires)
	}
	l.first = earlier(l.warn, earlier(l.stale, l.refuse))
	return l
}

// earlier is the first of two instants of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// due is how the value stands at now.
func (l *limits) due(now time.Time) Due {
	reached := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case !reached(l.first):
		return NotDue
	case reached(l.refuse):
		return TooLate
	case reached(l.stale):
		return Overdue
	}
	return DueSoon
}

// tooLate says why the value is not used at now, or nil.
func (l *limits) tooLate(now time.Time) error {
	switch {
	case l.due(now) != TooLate:
		return nil
	case !l.expires.IsZero() && !now.Before(l.expires):
		return fmt.Errorf("expired at %s, as its note says: rotate it, and write the new date", l.expires.Format(time.RFC3339))
	}
	return fmt.Errorf("its value is older than max_age (%s): rotate it", ageText(l.maxAge.Refuse))
}

// text says what is to be done by when, for whoever is to do it.
func (l *limits) text() string {
	text := "rotate it"
	if !l.refuse.IsZero() {
		text += " before " + l.refuse.UTC().Format(time.RFC3339) + ", when it is not used any more"
	}
	return text
}

// within is d, cut where the value is not used any more.
func (l *limits) within(now time.Time, d time.Duration) time.Duration {
	if l.refuse.IsZero() {
		return d
	}
	return min(d, l.refuse.Sub(now))
}

// Staleness says why a value is marked as stale.
type Staleness uint8

// The reasons, the graver first.
const (
	NotStale Staleness = iota
	// Unconfirmed: no refresh confirmed the value for two refresh intervals, so
	// that the secret manager may hold another by now.
	Unconfirmed
	// Old: confirmed, and past stale of max_age.
	Old
)

// String is the reason in a word, or empty.
func (s Staleness) String() string { return [...]string{"", "unconfirmed", "old"}[min(s, Old)] }

func (v *Vault) staleness(h *holding, age time.Duration, now time.Time) Staleness {
	switch {
	case age > 2*v.config.Refresh:
		return Unconfirmed
	case h.limits.due(now) >= Overdue:
		return Old
	}
	return NotStale
}

// tellDue logs, once, that a value became due, or is not any more.
func (h *holding) tellDue(ctx context.Context, log *slog.Logger, before Due, now time.Time) {
	switch {
	case h.due == before, h.version == nil:
	case h.due == DueSoon:
		log.WarnContext(ctx, "secret is due for rotation", "id", h.id, "todo", h.limits.text())
	case h.due == Overdue:
		log.WarnContext(ctx, "secret is overdue for rotation: its uses are marked as stale", "id", h.id, "todo", h.limits.text())
	case h.due == TooLate:
		log.ErrorContext(ctx, "secret refused: the route is closed", "error", h.limits.tooLate(now).Error())
	default:
		log.InfoContext(ctx, "secret is no longer due for rotation", "id", h.id)
	}
}
