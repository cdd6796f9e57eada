package vault_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/vault"
)

// account is a machine account in memory: a vault.Source that keeps projects
// and secrets, answers Unchanged when it may, and fails when told to.
type account struct {
	mu       sync.Mutex
	projects map[string]string
	secrets  []secret
	moved    time.Time
	fetches  []time.Time
	fetched  map[string]int // by id: how often a value was handed out
	reads    int            // of single secrets
	fail     error
	hang     bool // until the context ends
	broken   map[string]error
	gate     chan struct{} // a fetch waits for it, if set
}

type secret struct {
	id, project, name string
	value             func() string
	revised           time.Time
	note              string
}

const (
	payments = "11111111-0000-4000-8000-000000000001"
	wiki     = "11111111-0000-4000-8000-000000000002"
	stripeID = "22222222-0000-4000-8000-000000000001"
	wikiID   = "22222222-0000-4000-8000-000000000002"

	stripeRef = "prod/payments/STRIPE_API_KEY"
	wikiRef   = "prod/wiki/TOKEN"
)

// newAccount sees two projects with one secret each.
func newAccount() *account {
	a := &account{
		projects: map[string]string{payments: "payments", wiki: "wiki"},
		fetched:  map[string]int{},
		broken:   map[string]error{},
	}
	a.put(stripeID, payments, "STRIPE_API_KEY", "CANARY-stripe-1")
	a.put(wikiID, wiki, "TOKEN", "CANARY-wiki-1")
	return a
}

func (a *account) put(id, project, name, value string) {
	a.change(func() {
		s := secret{id, project, name, func() string { return value }, time.Now(), ""}
		if i := slices.IndexFunc(a.secrets, func(s secret) bool { return s.id == id }); i >= 0 {
			s.note = a.secrets[i].note
			a.secrets[i] = s
			return
		}
		a.secrets = append(a.secrets, s)
	})
}

// annotate gives a secret another note, which is a revision of it.
func (a *account) annotate(id, note string) {
	a.change(func() {
		i := slices.IndexFunc(a.secrets, func(s secret) bool { return s.id == id })
		a.secrets[i].note, a.secrets[i].revised = note, time.Now()
	})
}

func (a *account) remove(id string) {
	a.change(func() {
		a.secrets = slices.DeleteFunc(a.secrets, func(s secret) bool { return s.id == id })
	})
}

func (a *account) change(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	a.moved = time.Now()
}

func (a *account) failWith(err error) { a.set(func() { a.fail = err }) }

func (a *account) set(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

func (a *account) count() int { return len(a.times()) }

func (a *account) times() []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.fetches)
}

func (a *account) Fetch(ctx context.Context, since time.Time, want func(vault.Ref) bool) (vault.Snapshot, error) {
	a.mu.Lock()
	a.fetches = append(a.fetches, time.Now())
	gate, hang := a.gate, a.hang
	a.mu.Unlock()
	if hang {
		<-ctx.Done()
		return vault.Snapshot{}, &vault.SourceError{Reason: vault.Unreachable, Err: ctx.Err()}
	}
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return vault.Snapshot{}, &vault.SourceError{Reason: vault.Unreachable, Err: ctx.Err()}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != nil {
		return vault.Snapshot{}, a.fail
	}
	s := vault.Snapshot{Synced: time.Now()}
	if !since.IsZero() && !a.moved.After(since) {
		s.Unchanged = true
		return s, nil
	}
	s.Projects = maps.Clone(a.projects)
	s.Span = trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{15: byte(len(a.fetches))}, SpanID: trace.SpanID{7: 1}})
	for _, one := range a.secrets {
		ref := vault.Ref{ID: one.id, Project: one.project, Name: one.name, Revised: one.revised}
		if err := a.broken[one.id]; err != nil {
			// As a secret that cannot be decrypted: not even its name is known.
			if ref.Name = ""; want(ref) {
				s.Failed = append(s.Failed, vault.Failure{Ref: ref, Err: err})
			}
			continue
		}
		s.Refs = append(s.Refs, ref)
		if want(ref) {
			a.fetched[one.id]++
			s.Secrets = append(s.Secrets, vault.Secret{Ref: ref, Note: one.note, Reveal: one.value})
		}
	}
	return s, nil
}

// Read implements vault.Source.
func (a *account) Read(ctx context.Context, id string) (vault.Secret, trace.SpanContext, error) {
	a.mu.Lock()
	a.reads++
	gate, hang := a.gate, a.hang
	a.mu.Unlock()
	if hang {
		<-ctx.Done()
		return vault.Secret{}, trace.SpanContext{}, &vault.SourceError{Reason: vault.Unreachable, Err: ctx.Err()}
	}
	if gate != nil {
		<-gate
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.secrets, func(s secret) bool { return s.id == id })
	switch {
	case a.fail != nil:
		return vault.Secret{}, trace.SpanContext{}, a.fail
	case i < 0:
		return vault.Secret{}, trace.SpanContext{}, &vault.SourceError{Reason: vault.Forbidden, Status: 404, Err: errors.New("not visible")}
	}
	one := a.secrets[i]
	a.fetched[id]++
	ref := vault.Ref{ID: one.id, Project: one.project, Name: one.name, Revised: one.revised}
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{14: 1, 15: byte(a.reads)}, SpanID: trace.SpanID{7: 1}})
	return vault.Secret{Ref: ref, Note: one.note, Reveal: one.value}, span, nil
}

// setup is a vault on a, with both secrets bound, that refreshes every 30s.
func setup(a *account) vault.Setup {
	return vault.Setup{
		Name:           "prod",
		Source:         a,
		Bindings:       []vault.Binding{bind(stripeRef), bind(wikiRef)},
		FingerprintKey: func() string { return "0123456789abcdef0123456789abcdef" },
	}
}

// bind binds a secret to the route "r".
func bind(secret string) vault.Binding {
	return vault.Binding{
		Secret:      secret,
		Route:       "r",
		Destination: vault.Destination{Scheme: "https", Host: "api.example.com"},
		Inject:      vault.Bearer(),
	}
}

// open opens a vault and waits for its first refresh, good or not.
func open(t *testing.T, s vault.Setup) *vault.Vault {
	t.Helper()
	v, err := vault.Open(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	_ = v.Wait(t.Context())
	return v
}

func lease(t *testing.T, v *vault.Vault, secret string) *vault.Lease {
	t.Helper()
	l, err := v.Lease(t.Context(), "r", secret)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// refused is the reason there is no lease, or a message about the one there is.
func refused(t *testing.T, v *vault.Vault, secret string) vault.LeaseReason {
	t.Helper()
	l, err := v.Lease(t.Context(), "r", secret)
	if err == nil {
		return vault.LeaseReason(fmt.Sprint("leased: ", l))
	}
	return reason(t, err)
}

func reason(t *testing.T, err error) vault.LeaseReason {
	t.Helper()
	e, ok := err.(*vault.LeaseError)
	if !ok {
		t.Fatalf("error is a %T, want a *LeaseError: %v", err, err)
	}
	return e.Reason
}
