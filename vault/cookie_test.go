package vault_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/vault"
)

// cookieLines are the Cookie lines that the upstream reads.
func cookieLines(t *testing.T, l *vault.Lease, header http.Header) []string {
	t.Helper()
	sent := wire(t, l, "", header)
	var got []string
	for line := range strings.SplitSeq(sent, "\r\n") {
		if name, value, _ := strings.Cut(line, ": "); strings.EqualFold(name, "cookie") {
			got = append(got, value)
		} else if name != strings.TrimSpace(name) || strings.Contains(name, "okie") {
			t.Errorf("the upstream reads %q", line)
		}
	}
	return got
}

// B12 for cookies: the caller's of our name go, in every spelling that some
// server reads so, and all others stay as they are.
func TestTheCallersCookieOfOurNameIsRemoved(t *testing.T) {
	l, err := worn(t, "CANARY", vault.Injection{Cookie: "s_id"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ sent, left, like string }{
		{"s_id=x", "", ""}, {"a=1; s_id=x; b=2", "a=1; b=2", ""}, {"s_id=x; b=2", "b=2", ""}, {"a=1; s_id=x", "a=1", ""},
		{"a=1;s_id=x;b=2;", "a=1;b=2;", ""}, {"s_id=x; s_id=y;s_id=z", "", ""}, {"s_id=x;", "", ""}, {"a=1; s_id=", "a=1", ""},
		{"a=1; s_id", "a=1", "a name alone"}, {"a=1; =s_id=x", "a=1", "a cookie without a name"}, {"a=1; s_id =x", "a=1", "spaces"},
		{"a=1;\t s_id\t=x", "a=1", "tabs"}, {`a=1; "s_id"=x`, "a=1", "quotes"}, {`a=1; "s_id=x"`, "a=1", "quotes"}, {`a=1; s_id="x; b=2"`, `a=1; b=2"`, "quotes"},
		{`a="1; s_id=x; b=2"`, `a="1; b=2"`, "quotes"}, {"a=1; \u00a0s_id\u0085=x", "a=1", "spaces to Python"},
		{"a=1; s%5Fid=x", "a=1", "PHP before 7.2.34"}, {"a=1; s%255fid=x", "a=1", ""}, {"a=1; s.id=x; s id=x", "a=1", "PHP"}, {"a=1; s_id[]=x; s_id[a]=x; s[id=x", "a=1", "PHP"},
		{"a=1,s_id=x; b=2", "b=2", "RFC 2109"}, {"a=1, s_id =x", "", "RFC 2109"},

		{"a=1; b=2", "a=1; b=2", ""}, {"a=1;b=2 ; ;;c", "a=1;b=2 ; ;;c", ""}, {" a=1", "a=1", "net/http trims"}, {"S_ID=x; S_id=y", "S_ID=x; S_id=y", "RFC 6265: case counts"},
		{"s_ids=x; as_id=y; sid=z; s-id=w", "s_ids=x; as_id=y; sid=z; s-id=w", ""}, {"a=s_id; b=s_id=2; c=1,s_id,2", "a=s_id; b=s_id=2; c=1,s_id,2", ""},
		{`a="x`, `a="x`, "an open quote"}, {`$Version=1; a="x; $Path=/`, `$Version=1; a="x; $Path=/`, "RFC 2109"}, {"a=\u00e9; b={}", "a=\u00e9; b={}", ""},
	} {
		want := strings.TrimSuffix("s_id=CANARY; "+test.left, "; ")
		if got := cookieLines(t, l, http.Header{"Cookie": {test.sent}}); len(got) != 1 || got[0] != want {
			t.Errorf("B12 %q (%s): the upstream reads %q, want %q", test.sent, test.like, got, want)
		}
	}
	for _, test := range []struct {
		sent http.Header
		want []string
	}{
		{nil, []string{"s_id=CANARY"}},
		{http.Header{"Cookie": {"", "s_id=x", "a=1", " ", "b=2; s_id=y"}}, []string{"s_id=CANARY; a=1", "b=2"}},
		{http.Header{"Cookie": {"a=1"}, "cookie": {"s_id=x"}, "COOKIE": {"s_id=x"}}, []string{"s_id=CANARY; a=1"}},
	} {
		if got := cookieLines(t, l, test.sent); !slices.Equal(got, test.want) {
			t.Errorf("B12 %q: the upstream reads %q, want %q", test.sent, got, test.want)
		}
	}
}

// The incoming request and the outgoing one may share the lines.
func TestTheCallersLinesAreNotChangedInPlace(t *testing.T) {
	l, err := worn(t, "CANARY", vault.Injection{Cookie: "sid"})
	if err != nil {
		t.Fatal(err)
	}
	shared := []string{"a=1", "sid=x", "b=2"}
	cookieLines(t, l, http.Header{"Cookie": shared})
	if !slices.Equal(shared, []string{"a=1", "sid=x", "b=2"}) {
		t.Errorf("the caller's lines became %q", shared)
	}
}

func TestAnUpstreamDoesNotSetTheInjectedCookie(t *testing.T) {
	i := vault.Injection{Cookie: "sid"}
	for line, ours := range map[string]bool{
		"sid=x; Path=/; Secure": true, "sid=": true, " sid =x": true, `"sid"=x`: true, "sid[]=x": true,
		"a=1; sid=x": false, "SID=x": false, "sids=x": false, "": false, "Path=/": false,
	} {
		if i.SetsCookie(line) != ours {
			t.Errorf("Set-Cookie: %s: ours %v", line, !ours)
		}
	}
	if vault.Bearer().SetsCookie("=x") {
		t.Error("a header's injection claims a cookie")
	}
}

// Whatever the lines: ours is first and once; net/http reads all others as
// before, in their order; and what is left is what was there, whole pairs of it
// missing at most.
func FuzzCookie(f *testing.F) {
	for _, seed := range []string{"", "a=1; sid=x; b=2", `a="x; sid=y"`, "sid", "a=1,sid=2", "SID=1;  sid =2", "s%69d=1", "sid[]=1;;"} {
		f.Add(seed, "sid", "a=1")
		f.Add("b=2", "s.id", seed)
	}
	f.Fuzz(func(t *testing.T, first, name, second string) {
		inject := vault.Injection{Cookie: name}
		inject.Check(func(string, string) { name = "" })
		if name == "" {
			return
		}
		l, err := worn(t, "CANARY", inject)
		if err != nil {
			t.Fatal(err)
		}
		r := request(t)
		r.Header = http.Header{"Cookie": {first, second}}
		before := r.Cookies()
		if err := l.Authorize(r); err != nil {
			t.Fatal(err)
		}
		after, ours := r.Cookies(), name+"=CANARY"
		if len(after) == 0 || after[0].Name+"="+after[0].Value != ours {
			t.Fatalf("%q, %q: the first cookie is not ours in %q", first, second, r.Header["Cookie"])
		}
		for _, c := range after[1:] {
			if c.Name == name {
				t.Fatalf("%q, %q: a second %s in %q", first, second, name, r.Header["Cookie"])
			}
		}
		// What is gone was near enough to our name.
		i := 1
		for _, c := range before {
			if i < len(after) && after[i].Name == c.Name && after[i].Value == c.Value {
				i++
			} else if !strings.ContainsAny(c.Name, "%+.[\"") && c.Name != name && !strings.Contains(c.Value, ",") && !strings.ContainsAny(name, "._") {
				t.Fatalf("%q, %q: %s is gone from %q", first, second, c, r.Header["Cookie"])
			}
		}
		if i != len(after) {
			t.Fatalf("%q, %q: cookies that nobody sent in %q", first, second, r.Header["Cookie"])
		}
		all := strings.Join(r.Header["Cookie"], ";")
		left := strings.Split(strings.TrimPrefix(all, ours), ";")
		pairs := strings.Split(first+";"+second, ";")
		for _, pair := range left {
			if strings.Trim(pair, " \t") == "" {
				continue
			}
			at := slices.IndexFunc(pairs, func(p string) bool { return strings.Trim(p, " \t") == strings.Trim(pair, " \t") })
			if at < 0 {
				t.Fatalf("%q, %q: %q was not there, or not in this place", first, second, pair)
			}
			pairs = pairs[at+1:]
		}
	})
}
