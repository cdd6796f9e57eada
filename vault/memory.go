package vault

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
)

// memory is what a Vault knows; views are made from it.
type memory struct {
	rules    Config // require_binding and max_age of it
	bindings []Binding
	catalog  catalog
	held     map[string]held // by the secret's id; bound secrets only
	asked    map[string]bool // references that a good refresh has looked for

	synced    time.Time // the source's word for the last snapshot
	partial   bool      // the last snapshot lacks something: ask for all again
	refreshed time.Time
	failure   error
	failures  int  // in a row
	refusals  int  // of these, the last ones that said the account is not welcome
	unproven  bool // the source took another's place, and brought nothing yet
	settled   bool
	next      chan struct{}
}

// held is a wanted secret: its last value, or why there is none.
type held struct {
	version   *version // nil: never readable
	confirmed time.Time
	before    *version // the version that this one replaced
	replaced  time.Time
	failure   error // why it cannot be read now
	terms     terms // in its note
	noteError error // why its note cannot be followed
}

// references are the well-formed ones among the bindings'.
func (m *memory) references() map[string]Reference {
	refs := make(map[string]Reference, len(m.bindings))
	for _, b := range m.bindings {
		if r, err := ParseReference(b.Secret); err == nil {
			refs[b.Secret] = r
		}
	}
	return refs
}

// lacks says whether a bound secret was never looked for, or is known to exist
// and not held: then only a full fetch will do.
func (m *memory) lacks(refs map[string]Reference) bool {
	for secret, r := range refs {
		if !m.asked[secret] {
			return true
		}
		if r.Personal() {
			continue
		}
		if ref, err := m.catalog.resolve(r); err == nil {
			if _, ok := m.held[ref.ID]; !ok {
				return true
			}
		}
	}
	return false
}

// unwelcome says that the secret manager has said for good that the account is
// not welcome any more. It says it of one that took another's place in vain too,
// which says nothing of the values held.
func (m *memory) unwelcome() bool { return m.refusals >= refusalsMost && !m.unproven }

// forget drops every value of an account that is unwelcome.
func (m *memory) forget() {
	m.catalog, m.held, m.asked, m.synced = catalog{}, nil, nil, time.Time{}
}

// learn takes in a good snapshot of a fetch that began at started and looked
// for refs.
func (v *Vault) learn(s Snapshot, started time.Time, refs map[string]Reference) {
	m := &v.known
	m.synced, m.refreshed = s.Synced, started
	if s.Unchanged {
		for id, h := range m.held {
			if h.failure == nil {
				h.confirmed = started
				m.held[id] = h
			}
		}
		return
	}
	m.partial = len(s.Failed) > 0
	m.catalog = newCatalog(s, m.catalog)
	m.asked = make(map[string]bool, len(refs))
	now := make(map[string]held)
	for secret, r := range refs {
		m.asked[secret] = true
		if r.Personal() {
			continue
		}
		ref, err := m.catalog.resolve(r)
		if err != nil {
			continue // publish says so
		}
		if _, done := now[ref.ID]; done {
			continue
		}
		if h, ok := v.take(ref, s, started); ok {
			now[ref.ID] = h
		}
	}
	m.held = now
}

// take is what a snapshot says of one wanted secret.
func (v *Vault) take(ref Ref, s Snapshot, started time.Time) (held, bool) {
	before := v.known.held[ref.ID]
	for _, secret := range s.Secrets {
		if secret.ID != ref.ID {
			continue
		}
		return before.seen(newVersion(v.key, v.name, secret, s.Span), secret.Note, started), true
	}
	for _, f := range s.Failed {
		if f.ID == ref.ID {
			before.failure = f.Err
			return before, true
		}
	}
	v.known.partial = true // seen, wanted, and left out: a wish that came too late
	return held{}, false
}

// seen is what is held once a version was seen, with a note, in a fetch that
// began at started.
func (h held) seen(now *version, note string, started time.Time) held {
	after := held{version: now, confirmed: started}
	switch {
	case h.version == nil:
	case h.version.name == now.name:
		after.version, after.before, after.replaced = h.version, h.before, h.replaced
	case h.version.fingerprint == now.fingerprint: // a new name, or a note
		now.changed = h.version.lasting(now)
		after.before, after.replaced = h.before, h.replaced
	default:
		after.before, after.replaced = h.version, started
	}
	after.terms, after.noteError = parseNote(note)
	return after
}

// publish makes a view of what is known, and drops the values it has no use
// for. The caller holds mu, or is alone.
func (v *Vault) publish() {
	m := &v.known
	next := &view{
		holdings:  make(map[key]*holding, len(m.bindings)),
		refreshed: m.refreshed,
		failure:   m.failure,
		failures:  m.failures,
		catalog:   m.catalog,
		settled:   m.settled,
		published: v.now(),
		next:      m.next,
		uses:      make(map[key]*uses),
		mints:     make(map[mintKey]*mint),
	}
	before := v.view.Load()
	inUse := make(map[string]bool)
	for _, b := range m.bindings {
		h := v.hold(b)
		if old := next.holdings[h.key]; old != nil {
			old.refuse(NoCredential, errors.New("is bound to this route twice"))
			continue
		}
		h.uses, h.due, h.mint = next.count(h, before), h.limits.due(next.published), v.mintOf(h, before, next)
		if h.before != nil {
			h.before.uses, h.before.mint = h.uses, v.mintOf(h.before, before, next)
		}
		inUse[h.id] = true
		next.holdings[h.key] = h
		next.order = append(next.order, h)
	}
	maps.DeleteFunc(m.held, func(id string, _ held) bool { return !inUse[id] })
	v.view.Store(next)
	v.tell(before, next)
}

// hold is one binding with what is known of its secret. Whatever is missing or
// wrong refuses.
func (v *Vault) hold(b Binding) *holding {
	m := &v.known
	h := &holding{
		key:          key{b.Route, b.Secret, b.Generation},
		destination:  b.Destination.normal(),
		preserveHost: b.PreserveHost,
	}
	var problems []error
	b.Check(func(path, problem string) { problems = append(problems, fmt.Errorf("%s %s", path, problem)) })
	h.reference, _ = ParseReference(b.Secret)
	if len(problems) == 0 && h.reference.Collection.Vault != v.name {
		problems = append(problems, fmt.Errorf("is not of vault %s", v.name))
	}
	if err := errors.Join(problems...); err != nil {
		return h.refuse(NoCredential, err)
	}
	if !m.asked[b.Secret] {
		if m.failure != nil {
			return h.refuse(Unavailable, m.failure)
		}
		h.pending = true
		return h.refuse(Unavailable, errPending)
	}
	if h.reference.Personal() {
		return v.holdPersonal(h, b)
	}
	ref, err := m.catalog.resolve(h.reference)
	if err != nil {
		return h.refuse(NoCredential, err)
	}
	got, ok := m.held[ref.ID]
	if !ok {
		h.pending = true
		return h.refuse(Unavailable, errPending)
	}
	return h.fill(b, m.rules, ref, got)
}

// fill puts into h what is held of its secret, or what of the vault's rules, its
// note or its value closes it.
func (h *holding) fill(b Binding, rules Config, ref Ref, got held) *holding {
	h.id, h.version, h.confirmed = ref.ID, got.version, got.confirmed
	if got.failure != nil {
		h.unreadable = fmt.Errorf("secret %s cannot be read: %w", ref.ID, got.failure)
	}
	if h.version == nil {
		return h.refuse(Unavailable, h.unreadable)
	}
	h.terms = got.terms
	h.limits = limitsOf(h.version.changed, rules.maxAge(h.reference, ref).narrowed(maxAgeOf(got.terms.maxAge)), got.terms.expires)
	if err := h.conflict(got.noteError, rules.RequireBinding, b.Inject.TokenEndpoint().Destination()); err != nil {
		return h.refuse(NoCredential, err)
	}
	if err := h.wear(b); err != nil {
		return h.refuse(NoCredential, fmt.Errorf("the value of secret %s %w", ref.ID, err))
	}
	h.before = h.overlapped(b, got)
	return h
}

// wear makes the version ready for its binding, and what finds it in answers.
func (h *holding) wear(b Binding) (err error) {
	h.guard = nil
	h.unguarded = b.Unguarded
	if h.worn, err = b.Inject.wear(h.version.reveal()); err != nil || b.Unguarded || h.worn.values == nil || h.worn.mint != nil {
		return err
	}
	h.guard, err = newGuard(h.worn.values()...)
	return err
}

// overlapped is h with the version before, as long as the binding lets it be
// used, or nil.
func (h *holding) overlapped(b Binding, got held) *holding {
	if b.Overlap <= 0 || got.before == nil {
		return nil
	}
	old := *h
	old.version, old.until = got.before, got.replaced.Add(b.Overlap) // the vault is as fresh as for the current one
	old.limits = limitsOf(old.version.changed, h.limits.maxAge, h.limits.expires)
	if old.wear(b) != nil {
		return nil // it was refused when it was current
	}
	return &old
}

func (h *holding) refuse(reason LeaseReason, err error) *holding {
	h.refusal = &LeaseError{reason, h.key.secret, err}
	h.worn, h.guard = worn{}, nil
	return h
}

// wants says which secrets a fetch is to bring. A source asks before the names
// of projects are settled, so a secret of the same name in another collection
// may be brought too; it is not kept.
func (m *memory) wants(refs map[string]Reference) func(Ref) bool {
	wanted := make(map[string]bool, 2*len(refs))
	for _, r := range refs {
		wanted[r.Name], wanted[strings.ToLower(r.Name)] = true, true // ids are UUIDs, in either case
		if ref, err := m.catalog.resolve(r); err == nil {
			wanted[ref.ID] = true // its name may be unreadable
		}
	}
	return func(r Ref) bool {
		return wanted[r.ID] || wanted[strings.ToLower(r.ID)] || (r.Project != "" && wanted[r.Name])
	}
}
