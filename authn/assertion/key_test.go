package assertion_test

import (
	"crypto"
	"encoding/base64"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vaultspan/vaultspan/authn/assertion"
)

func ids(set jose.JSONWebKeySet) []string {
	var all []string
	for _, k := range set.Keys {
		all = append(all, k.KeyID)
	}
	slices.Sort(all)
	return all
}

// Keys are named by what they are, can be used for one thing, and have no private
// half.
func TestKeysAreNamedByWhatTheyAre(t *testing.T) {
	set := published(t, newSigner(t, &clock{noon}, seedA, seedB))
	if len(set.Keys) != 6 || len(slices.Compact(ids(set))) != 6 {
		t.Errorf("keys %v", ids(set))
	}
	for _, k := range set.Keys {
		sum, err := k.Thumbprint(crypto.SHA256)
		if err != nil || base64.RawURLEncoding.EncodeToString(sum) != k.KeyID {
			t.Errorf("key %s has thumbprint %x (%v)", k.KeyID, sum, err)
		}
		if !k.Valid() || !k.IsPublic() || k.Use != "sig" || k.Algorithm != "ES256" {
			t.Errorf("key %s: %+v", k.KeyID, k)
		}
	}
}

// Every version derives these keys of this seed at this time: nodes of two
// versions serve beside each other. If this fails, callers are locked out of
// upstreams during an update.
func TestKeysAreTheSameInEveryVersion(t *testing.T) {
	want := []string{ // as another program computes them, in Python without a library
		"0nIzJPxm44Z5rMAYIVDxmOGTMfD-DR3dEzUZ2gVCg_8", "XlIKZUMWX07gOpo5n-jX4S2-37yhDCxWXUtMJIZps1g", "rVPAzWf5zc14Q5xl2IGgbHV70LBVGkYsjKWw91a0RRU",
	}
	if got := ids(published(t, newSigner(t, &clock{noon}, seedA))); !slices.Equal(got, want) {
		t.Errorf("the keys are %q, want %q", got, want)
	}
}

// Nodes with one seed need nothing else to agree, and what one signs, all verify:
// with clocks that differ, and with a set that was kept for as long as it may be.
func TestNodesAgree(t *testing.T) {
	for _, at := range []time.Time{noon, noon.Truncate(24 * time.Hour), noon.Truncate(24 * time.Hour).Add(-time.Nanosecond)} {
		for _, skew := range []time.Duration{0, time.Second, -time.Second, time.Hour, -time.Hour, 22 * time.Hour, -22 * time.Hour} {
			for _, age := range []time.Duration{0, time.Hour} {
				here, there := newSigner(t, &clock{at.Add(skew)}, seedA), newSigner(t, &clock{at.Add(-age)}, seedA)
				if _, err := verify(sign(t, here, alice(at)), published(t, there)); err != nil {
					t.Errorf("at %v, with a clock %v off and a set %v old: %v", at, skew, age, err)
				}
			}
		}
	}
	_, age, err := newSigner(t, &clock{noon}, seedA).Keys()
	if err != nil || age != time.Hour {
		t.Errorf("the set may be kept for %v (%v)", age, err)
	}
}

// A key serves one period; it is known one before and one after, and no longer.
func TestKeysRotate(t *testing.T) {
	c := &clock{noon}
	s := newSigner(t, c, seedA)
	token, signers := sign(t, s, alice(noon)), map[string]bool{}
	var before []string
	for day := range 5 {
		set := published(t, s)
		if _, err := verify(token, set); (err == nil) != (day < 2) {
			t.Errorf("on day %d: %v", day, err)
		}
		parsed, err := jose.ParseSignedCompact(sign(t, s, alice(c.Time)), []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		kid := parsed.Signatures[0].Header.KeyID
		if signers[kid] || before != nil && !slices.Contains(before, kid) {
			t.Errorf("on day %d signs %s, which served before or was not announced", day, kid)
		}
		signers[kid], before = true, ids(set)
		c.Time = c.Add(24 * time.Hour)
	}
}

// Another rotate makes other keys: no key serves for longer than it was made for.
func TestAnotherPeriodIsAnotherKey(t *testing.T) {
	c := assertion.Config{Key: func() string { return seedA }, Rotate: time.Hour}
	s, err := assertion.New(assertion.Setup{Config: c, Gateway: "https://gw.test", Now: (&clock{noon}).now})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids(published(t, s)) {
		if slices.Contains(ids(published(t, newSigner(t, &clock{noon}, seedA))), id) {
			t.Errorf("key %s serves an hour and a day", id)
		}
	}
	if _, age, err := s.Keys(); err != nil || age != 15*time.Minute {
		t.Errorf("the set may be kept for %v (%v)", age, err)
	}
}

// The seed is changed in three steps, and after each of them a node that has not
// taken it yet and a cache of an hour before verify everything.
func TestTheSeedIsChanged(t *testing.T) {
	steps := [][]string{{seedA}, {seedA, seedB}, {seedB, seedA}, {seedB}}
	for i := range steps[1:] {
		old, next := newSigner(t, &clock{noon}, steps[i]...), newSigner(t, &clock{noon}, steps[i+1]...)
		for _, signs := range []*assertion.Signer{old, next} {
			for _, publishes := range []*assertion.Signer{old, next} {
				if _, err := verify(sign(t, signs, alice(noon)), published(t, publishes)); err != nil {
					t.Errorf("step %d: %v", i+1, err)
				}
			}
		}
	}
	a, b := newSigner(t, &clock{noon}, seedA), newSigner(t, &clock{noon}, seedB)
	if _, err := verify(sign(t, a, alice(noon)), published(t, b)); err == nil {
		t.Error("a seed that was taken away still counts")
	}
}

// Many requests meet a new period at once.
func TestAPeriodBeginsForAll(t *testing.T) {
	c := &clock{noon}
	s := newSigner(t, c, seedA)
	set := published(t, s)
	c.Time = c.Add(24 * time.Hour)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := verify(sign(t, s, alice(noon)), set); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestConfigIsChecked(t *testing.T) {
	text := func(s string) func() string { return func() string { return s } }
	for _, c := range []struct {
		config assertion.Config
		want   string
	}{
		{assertion.Config{}, ""},
		{assertion.Config{Key: text(seedA), Rotate: time.Hour, Lifetime: 5 * time.Minute}, ""},
		{assertion.Config{Key: text(seedA + "\n" + seedB + "\n")}, ""},
		{assertion.Config{Key: text("short")}, "key"}, {assertion.Config{Key: text("")}, "key"}, {assertion.Config{Key: text(seedA + "\n\n" + seedB)}, "key"},
		{assertion.Config{Key: text(strings.Repeat(seedA+"\n", 5))}, "key"},
		{assertion.Config{Rotate: time.Minute}, "rotate"}, {assertion.Config{Rotate: 1000 * time.Hour * 24}, "rotate"}, {assertion.Config{Rotate: -1}, "rotate"},
		{assertion.Config{Lifetime: 5*time.Minute + 1}, "lifetime"}, {assertion.Config{Lifetime: time.Second}, "lifetime"},
	} {
		var got []string
		c.config.Check(func(path, problem string) {
			got = append(got, path)
			if strings.Contains(problem, seedA) {
				t.Error("a problem shows the seed")
			}
		})
		if strings.Join(got, " ") != c.want {
			t.Errorf("%v: %q, want %q", c.config, got, c.want)
		}
	}
	for _, s := range []assertion.Setup{{}, {Gateway: "x"}, {Config: assertion.Config{Key: text(seedA)}}, {Gateway: "x", Config: assertion.Config{Key: text("short")}}} {
		if _, err := assertion.New(s); err == nil {
			t.Errorf("made of %v", s)
		}
	}
}
