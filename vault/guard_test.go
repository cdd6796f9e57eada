package vault_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/vault"
)

// guardOf is the guard of a lease of value, worn in that way.
func guardOf(t testing.TB, value string, inject vault.Injection) *vault.Guard {
	t.Helper()
	a := newAccount()
	a.put(stripeID, payments, "STRIPE_API_KEY", value)
	s := setup(a)
	s.Bindings = []vault.Binding{bind(stripeRef)}
	s.Bindings[0].Inject = inject
	v, err := vault.Open(s)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	_ = v.Wait(t.Context())
	l, err := v.Lease(t.Context(), "r", stripeRef)
	if err != nil {
		t.Fatal(err)
	}
	return l.Guard()
}

const (
	guarded  = "CANARY+a/b c%41{\"\\"
	guarded2 = "CANARY-CANARY-CANARY"
)

// scan puts text through a stream in pieces that end at cuts.
func scan(g *vault.Guard, text string, at vault.Edge, cuts ...int) (out string, found bool) {
	s := g.Stream()
	var all []byte
	start := 0
	for _, cut := range append(cuts, len(text)) {
		piece, hit := s.Scan([]byte(text[start:cut]), at)
		all, found, start = append(all, piece...), found || hit, cut
	}
	piece, hit := s.Scan(nil, vault.End)
	return string(append(all, piece...)), found || hit
}

// J02: every spelling is found at every split point, and what is passed on is
// what a look at the whole text passes on.
func TestEverySpellingIsFoundAtEverySplitPoint(t *testing.T) {
	for _, value := range []string{guarded, guarded2, "0123456789ab"} {
		g := guardOf(t, value, vault.Bearer())
		for name, text := range spellings(value) {
			text = `{"echo": "` + text + `", "more": 1}`
			want := reference(text, value)
			if !strings.Contains(want, "********") {
				t.Fatalf("J02 the reference does not see %s: %s", name, want)
			}
			for i := range len(text) + 1 {
				for j := i; j <= len(text); j += 1 + len(text)/7 {
					if out, found := scan(g, text, vault.Inside, i, j); out != want || !found {
						t.Fatalf("J02 %s cut at %d and %d:\n%s, found %v, want\n%s", name, i, j, out, found, want)
					}
				}
				out, found := scan(g, text, vault.Pause, i)
				if !found || len(out) != len(text) {
					t.Fatalf("J02 %s with a pause at %d: %s, found %v", name, i, out, found)
				}
				if at := firstDifference(out, want); at >= 0 && strings.Count(out, "*") < strings.Count(want, "*")-3*6 {
					t.Fatalf("J02 %s with a pause at %d: more than three of it pass:\n%s, want\n%s", name, i, out, want)
				}
			}
			if out, found := g.Text(text); out != want || !found {
				t.Errorf("J02 %s as a whole: %s, want %s", name, out, want)
			}
			every := make([]int, len(text))
			for i := range every {
				every[i] = i
			}
			if out, _ := scan(g, text, vault.Inside, every...); out != want {
				t.Errorf("J02 %s byte by byte: %s, want %s", name, out, want)
			}
		}
	}
}

func firstDifference(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// Whatever the text and however it is cut, the stream passes on what a look at
// the whole does; with pauses, it differs in at most three bytes of a match.
func FuzzStream(f *testing.F) {
	for _, value := range []string{guarded, guarded2} {
		for _, text := range spellings(value) {
			f.Add(value, text+text[:len(text)/2]+text, uint64(1))
		}
	}
	f.Add("abcabcabcabca", "abcabcabcabcabcabcabc\\u0061bc%61bcabc", uint64(2))
	f.Add("aaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaa%61%61%6\\u00\\\\u0061", uint64(3))
	f.Add("€€€€😀😀", `\u20ac\u20ac\u20ac\u20ac\ud83d\ude00\ud83d\ude00\ud83d`, uint64(4))
	f.Fuzz(func(t *testing.T, value, text string, seed uint64) {
		if len(value) < 12 || len(value) > 200 || len(text) > 4000 {
			return
		}
		g, err := vault.NewGuard(value)
		if err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(seed, 0))
		for _, text := range []string{text, value + text, text + value[:len(value)/2], weave(random, value, text)} {
			var cuts []int
			for range random.IntN(20) {
				cuts = append(cuts, random.IntN(len(text)+1))
			}
			slices.Sort(cuts)
			want := reference(text, value)
			out, found := scan(g, text, vault.Inside, cuts...)
			if out != want || found != (want != text) && !strings.Contains(value, "*") {
				t.Fatalf("%q in %q cut at %v:\n%q, found %v, want\n%q", value, text, cuts, out, found, want)
			}
			out, _ = scan(g, text, vault.Pause, cuts...)
			if len(out) != len(text) {
				t.Fatalf("%q in %q cut at %v with pauses: %d bytes became %d", value, text, cuts, len(text), len(out))
			}
			for i := range out {
				if out[i] != want[i] && out[i] != text[i] {
					t.Fatalf("%q in %q cut at %v with pauses: %q", value, text, cuts, out)
				}
			}
		}
	})
}

// At a pause, three bytes of what may be a match are let out, and a fourth is
// not: what follows is masked all the same.
func TestAPauseHoldsBackFromTheFourthByteOn(t *testing.T) {
	const value = "CANARY-0123456789"
	g := guardOf(t, value, vault.Bearer())
	for _, test := range []struct{ first, passes string }{
		{"data: x\n\n", "data: x\n\n"}, {"data: C", "data: C"}, {"data: CAN", "data: CAN"}, {"data: CANA", "data: "},
		{`\u0043\u0041\u004e`, `\u0043\u0041\u004e`}, {`\u0043\u0041\u004e\u00`, ""}, {"%43%41%4", "%43%41%4"}, {"%43%41%4E%", ""}, {"x%", "x%"}, {`x\`, `x\`},
		{"434", "434"}, {"4341", ""}, {"Q0F", "Q0F"}, {"Q0FO", ""},
	} {
		s := g.Stream()
		out, _ := s.Scan([]byte(test.first), vault.Pause)
		if string(out) != test.passes {
			t.Errorf("of %q passes %q, want %q", test.first, out, test.passes)
		}
		if out, _ = s.Scan([]byte("~"), vault.Pause); string(out) != test.first[len(test.passes):]+"~" {
			t.Errorf("after %q comes %q", test.first, out)
		}
	}
	s := g.Stream()
	var all []byte
	for _, c := range []byte("<" + value + ">") {
		out, _ := s.Scan([]byte{c}, vault.Pause)
		all = append(all, out...)
	}
	if want := "<CAN" + strings.Repeat("*", len(value)-3) + ">"; string(all) != want {
		t.Errorf("byte by byte: %s, want %s", all, want)
	}
}

// Only what is secret is looked for: of basic, the password; the user where it
// is the secret.
func TestWhatOfAnInjectionIsGuarded(t *testing.T) {
	for _, test := range []struct {
		name, secret string
		inject       vault.Injection
		masked, not  []string
	}{
		{"basic of two fields", `{"username": "service-account", "password": "CANARY-pass-word"}`, word(t, "basic"), []string{"CANARY-pass-word"}, []string{"service-account"}},
		{"a plain user", "CANARY-pass-word", vault.Injection{Basic: vault.Basic{User: "service-account"}}, []string{"CANARY-pass-word"}, []string{"service-account"}},
		{"the secret as user", "CANARY-pass-word", vault.Injection{Basic: vault.Basic{User: "{secret}", Password: "x-oauth-basic"}}, []string{"CANARY-pass-word"}, []string{"x-oauth-basic"}},
		{"a field as user", `{"token": "CANARY-pass-word"}`, vault.Injection{Basic: vault.Basic{User: "{token}", Password: "x-oauth-basic"}}, []string{"CANARY-pass-word"}, []string{"x-oauth-basic"}},
		{"a header of two", `{"id": "short", "one": "CANARY-pass-word", "two": "CANARY-pass-phrase"}`, vault.Injection{Header: "X-Key", Format: "k={one}; l={two}; {id}"},
			[]string{"CANARY-pass-word", "CANARY-pass-phrase"}, []string{"short", "k=", `"one"`}},
	} {
		g := guardOf(t, test.secret, test.inject)
		for _, s := range test.masked {
			if out, found := g.Text(s); !found || out != strings.Repeat("*", len(s)) {
				t.Errorf("%s: %s becomes %s", test.name, s, out)
			}
		}
		for _, s := range test.not {
			if out, found := g.Text(s); found || out != s {
				t.Errorf("%s: %s becomes %s", test.name, s, out)
			}
		}
	}
}

// A credential that cannot be found in answers is refused, unless the operator
// says so.
func TestAShortCredentialIsRefused(t *testing.T) {
	for _, test := range []struct {
		secret string
		inject vault.Injection
		ok     bool
	}{
		{"CANARY-4567", vault.Bearer(), false},
		{"CANARY-45678", vault.Bearer(), true},
		{`{"username": "a-long-user-name", "password": "CANARY"}`, word(t, "basic"), false},
		{`{"id": "CANARY", "key": "CANARY-45678"}`, vault.Injection{Header: "X-Key", Format: "{id}:{key}"}, true},
	} {
		for _, unguarded := range []bool{false, true} {
			a := newAccount()
			a.put(stripeID, payments, "STRIPE_API_KEY", test.secret)
			s := setup(a)
			s.Bindings = []vault.Binding{bind(stripeRef)}
			s.Bindings[0].Inject, s.Bindings[0].Unguarded = test.inject, unguarded
			l, err := open(t, s).Lease(t.Context(), "r", stripeRef)
			switch {
			case (err == nil) != (test.ok || unguarded):
				t.Errorf("%s, unguarded %v: %v", test.secret, unguarded, err)
			case err == nil && (l.Guard() == nil) != unguarded:
				t.Errorf("%s, unguarded %v: guard %v", test.secret, unguarded, l.Guard())
			case err != nil && (reason(t, err) != vault.NoCredential || !strings.Contains(err.Error(), "unguarded: true") || strings.Contains(err.Error(), "CANARY")):
				t.Errorf("%s: %v", test.secret, err)
			}
		}
	}
}

// The names of headers reach us in another case than they were sent in.
func TestNamesAreFoundInAnyCase(t *testing.T) {
	g := guardOf(t, "CANARY-0123456789", vault.Bearer())
	for name, want := range map[string]bool{
		"X-Canary-0123456789": true, "canary-0123456789": true, "X-43414e4152592d30313233343536373839": true, "Strict-Transport-Security": false, "X-Canary-012345678": false,
	} {
		if g.Name(name) != want {
			t.Errorf("%s: %v, want %v", name, !want, want)
		}
	}
}

// After a renewal in the middle of a request, both values are watched for.
func TestTwoGuardsAreOne(t *testing.T) {
	one, two := guardOf(t, "CANARY-the-first", vault.Bearer()), guardOf(t, "CANARY-the-second", vault.Bearer())
	both := one.With(two)
	if out, found := both.Text("CANARY-the-second, CANARY-the-first"); !found || strings.Contains(out, "CANARY") {
		t.Error(out)
	}
	if one.With(nil) != one || (*vault.Guard)(nil).With(one) != one || one.With(one) != one {
		t.Error("a guard and nothing is not the guard")
	}
	if _, found := one.Text("CANARY-the-second"); found {
		t.Error("a guard was changed")
	}
}
