package vault_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

// noted leases the Stripe secret, whose note is this, for https://api.example.com.
func noted(t *testing.T, note string, change ...func(*vault.Setup)) (*vault.Vault, error) {
	t.Helper()
	a := newAccount()
	a.annotate(stripeID, note)
	s := setup(a)
	for _, f := range change {
		f(&s)
	}
	v := open(t, s)
	_, err := v.Lease(t.Context(), "r", stripeRef)
	return v, err
}

// A note is free text with at most one block, and the block can only narrow
// where the secret may go.
func TestTheNoteNarrowsWhereASecretGoes(t *testing.T) {
	for _, note := range []string{
		"",
		"Ask the payments team before you touch this.\nhttps://vaultspan.example.com/wiki: how to rotate",
		"we use vaultspan: see the wiki",
		"vaultspan: {hosts: [api.example.com]}",
		"vaultspan: {hosts: [other.example.com, API.Example.COM:443]}",
		"vaultspan: {hosts: ['*.example.com'], owner: payments, max_age: 90d, expires: 2100-01-31}",
		"Rotated by hand.\r\n\r\nvaultspan:\r\n  hosts:\r\n    - api.example.com   # with a comment\r\n\r\n  owner: \"Payments, +49 30 1234\"\r\nAnd more words: {",
		"```\nvaultspan:\n  hosts: [api.example.com.]\n```",
		"vaultspan: {owner: payments}",
		"vaultspan: {expires: 2100-01-31T12:00:00+02:00, max_age: 36h30m}",
		"vaultspan:\n    hosts: [\n      api.example.com,\n    ]",
	} {
		if _, err := noted(t, note); err != nil {
			t.Errorf("%q: %v", note, err)
		}
	}
}

// What docs/secrets.md shows, is read as it says.
func TestTheNoteInTheDocumentation(t *testing.T) {
	text, err := os.ReadFile("../docs/secrets.md")
	if err != nil {
		t.Fatal(err)
	}
	_, note, _ := strings.Cut(string(text), "\n```\n")
	note, _, _ = strings.Cut(note, "\n```\n")
	synctest.Test(t, func(t *testing.T) {
		v, err := noted(t, note, func(s *vault.Setup) { s.Bindings[0].Destination.Host = "api.stripe.com" })
		one := v.Status().Secrets[0]
		if err != nil || one.Owner != "payments team" || one.MaxAge.Refuse != 90*day || !one.Expires.Equal(time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%v, %+v", err, one)
		}
	})
}

// K08, J32: a destination that a note does not list closes the route, and so
// does everything that is not plainly meant: a limit that was misread would be
// none. No error quotes a note, which may hold secrets.
func TestANoteThatConflictsOrCannotBeReadClosesTheRoute(t *testing.T) {
	const goes = "does not let it go to https://api.example.com:443"
	for note, want := range map[string]string{
		"vaultspan: {hosts: [CANARY.example.com]}":                                        goes,
		"vaultspan: {hosts: [example.com]}":                                               goes,
		"vaultspan: {hosts: ['*.api.example.com']}":                                       goes,
		"vaultspan: {hosts: ['*.com']}":                                                   goes, // a.b is not one label
		"vaultspan: {hosts: ['api.example.com:8443']}":                                    goes,
		"vaultspan: {hosts: ['api.example.com:80']}":                                      goes,
		"vaultspan: {hosts: [api.example.com.evil.test, evilapi.example.com]}":            goes,
		"vaultspan: {hosts: ['https://api.example.com']}":                                 "line 1: hosts wants host or host:port",
		"vaultspan: {hosts: [api.example.com/CANARY]}":                                    "hosts wants host or host:port",
		"vaultspan: {hosts: ['*']}":                                                       "hosts wants host or host:port",
		"vaultspan: {hosts: ['**.example.com']}":                                          "hosts wants host or host:port",
		"vaultspan: {hosts: ['api.*.com']}":                                               "hosts wants host or host:port",
		"vaultspan: {hosts: ['api.example.com:0']}":                                       "hosts wants host or host:port",
		"vaultspan: {hosts: ['api.example.com:']}":                                        "hosts wants host or host:port",
		"vaultspan: {hosts: ['[api.example.com]:443']}":                                   "hosts wants host or host:port",
		"vaultspan: {hosts: ['api.example.com ']}":                                        "hosts wants host or host:port",
		"vaultspan: {hosts: [аpi.example.com]}":                                           "hosts wants host or host:port", // a Cyrillic а
		"vaultspan: {hosts: []}":                                                          "hosts wants a list",
		"vaultspan: {hosts: api.example.com}":                                             "hosts wants a list",
		"vaultspan: {hosts: [12]}":                                                        "hosts wants a text",
		"vaultspan: {hosts: [[api.example.com]]}":                                         "hosts wants a text",
		"vaultspan: {hots: [api.example.com]}":                                            "is not a key: the keys of vaultspan are hosts",
		"vaultspan: {CANARY: 1}":                                                          "is not a key: the keys of vaultspan are hosts",
		"vaultspan: {hosts: [api.example.com], hosts: [b.example.com]}":                   "", // YAML's affair or ours
		"vaultspan: {owner: " + strings.Repeat("a", 65) + "}":                             "at most 64 printable",
		"vaultspan: {owner: \"a\\tb\"}":                                                   "at most 64 printable",
		"vaultspan: {owner: [a]}":                                                         "owner wants a text",
		"vaultspan: {owner: }":                                                            "owner wants a text",
		"vaultspan: {owner: true}":                                                        "owner wants a text",
		"vaultspan: {max_age: 90}":                                                        "max_age wants a text",
		"vaultspan: {max_age: 90 days}":                                                   "max_age wants one duration",
		"vaultspan: {max_age: -90d}":                                                      "max_age wants one duration",
		"vaultspan: {max_age: 0d}":                                                        "max_age wants one duration",
		"vaultspan: {max_age: {refuse: 90d}}":                                             "max_age wants a text",
		"vaultspan: {expires: 2027-13-31}":                                                "expires wants a day",
		"vaultspan: {expires: soon}":                                                      "expires wants a day",
		"vaultspan: {expires: 2027-01-31 12:00:00}":                                       "expires wants a day",
		"vaultspan: see CANARY":                                                           "line 1: want keys and values",
		"vaultspan:":                                                                      "want keys and values",
		"vaultspan:\nhosts: [api.example.com]":                                            "want keys and values", // not indented, so not of the block
		"vaultspan: {}":                                                                   "want keys and values",
		"vaultspan:{hosts: [api.example.com]}":                                            "not YAML",
		"vaultspan: {hosts: [api.example.com]":                                            "not YAML",
		"vaultspan: {hosts: [\n  api.example.com\n]}":                                     "not YAML", // the last line is not indented
		"one\ntwo\nvaultspan: {hosts: *CANARY}":                                           "on line 3 is not YAML",
		"vaultspan: {hosts: &a [api.example.com]}":                                        "hosts wants a list",
		"vaultspan: !x {hosts: [api.example.com]}":                                        "want keys and values",
		"vaultspan: {<<: {hosts: [api.example.com]}}":                                     "is not a key",
		"vaultspan: {hosts: [api.example.com]}\nvaultspan: {owner: a}":                    "lines 1 and 2 both begin with vaultspan:",
		"vaultspan: {hosts: [api.example.com]}\nfree\n\n  \"vaultspan\": {}":              "line 4 looks like a block",
		"  vaultspan: {hosts: [api.example.com]}":                                         "line 1 looks like a block",
		"Vaultspan: {hosts: [api.example.com]}":                                           "looks like a block",
		"{\"vaultspan\": {\"hosts\": [\"api.example.com\"]}}":                             "looks like a block",
		"\ufeffvaultspan: {hosts: [api.example.com]}":                                     "looks like a block",
		"- vaultspan: {hosts: [api.example.com]}":                                         "looks like a block",
		"old\rvaultspan: {hosts: [b.example.com]}":                                        goes,
		"old\u2028vaultspan: {hosts: [b.example.com]}":                                    goes,
		"vaultspan: {owner: a,\n  hosts: [\"" + strings.Repeat("a.", 3000) + "\"]}":       "longer than 4096 bytes",
		"vaultspan: {hosts: [api.example.com], expires: 2001-01-01}":                      "expired at 2001-01-01T00:00:00Z",
		"vaultspan: {hosts: " + strings.Repeat("[", 500) + strings.Repeat("]", 500) + "}": "hosts wants a text",
		"vaultspan: {hosts: " + strings.Repeat("{a: ", 700) + "CANARY" + strings.Repeat("}", 700) + "}":     "hosts wants a list",
		"vaultspan: {hosts: [api.example.com], password: CANARY-in-a-note}":                                 "is not a key",
		"vaultspan: {hosts: [api.example.com], owner: a, max_age: CANARY-in-a-note, expires: CANARY-in-it}": "expires wants a day",
	} {
		v, err := noted(t, note)
		if err == nil {
			t.Errorf("%.80q: the route is open", note)
			continue
		}
		if reason(t, err) != vault.NoCredential || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: %v, want %q", note, err, want)
		}
		if ready := v.Ready(stripeRef); ready == nil || ready.Error() != err.Error() {
			t.Errorf("%.80q: readiness says %v", note, ready)
		}
		if p := v.Problems(); len(p) != 1 || p[0].Secret != stripeRef || strings.Contains(p[0].Text, "CANARY") || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%.80q: problems %v", note, p)
		}
	}
}

// K08: one label, and the port of the scheme unless another is written.
func TestHostsOfANote(t *testing.T) {
	to := func(d vault.Destination) func(*vault.Setup) {
		return func(s *vault.Setup) { s.Bindings[0].Destination, s.Bindings[0].Plaintext = d, true }
	}
	for _, c := range []struct {
		host string
		d    vault.Destination
		open bool
	}{
		{"*.allowed.test", vault.Destination{Scheme: "https", Host: "a.allowed.test"}, true},
		{"*.allowed.test", vault.Destination{Scheme: "https", Host: "A.ALLOWED.TEST."}, true},
		{"*.allowed.test", vault.Destination{Scheme: "https", Host: "allowed.test"}, false},
		{"*.allowed.test", vault.Destination{Scheme: "https", Host: "evilallowed.test"}, false},
		{"*.allowed.test", vault.Destination{Scheme: "https", Host: "allowed.test.evil"}, false},
		{"*.allowed.test", vault.Destination{Scheme: "https", Host: "a.b.allowed.test"}, false},
		{"*.allowed.test", vault.Destination{Scheme: "https", Host: "a.allowed.test", Port: 8443}, false},
		{"*.allowed.test:8443", vault.Destination{Scheme: "https", Host: "a.allowed.test", Port: 8443}, true},
		{"127.0.0.1", vault.Destination{Scheme: "http", Host: "127.0.0.1"}, true},
		{"127.0.0.1", vault.Destination{Scheme: "http", Host: "127.0.0.1", Port: 8080}, false},
		{"127.0.0.1:8080", vault.Destination{Scheme: "http", Host: "127.0.0.1", Port: 8080}, true},
		{"::1", vault.Destination{Scheme: "https", Host: "::1"}, true},
		{"[::1]:8443", vault.Destination{Scheme: "https", Host: "::1", Port: 8443}, true},
	} {
		_, err := noted(t, "vaultspan: {hosts: ['"+c.host+"']}", to(c.d))
		if (err == nil) != c.open {
			t.Errorf("%s and %s: %v", c.host, c.d, err)
		}
	}
}

func TestRequireBindingWantsHosts(t *testing.T) {
	required := func(s *vault.Setup) { s.Config.RequireBinding = true }
	for _, note := range []string{"", "words", "vaultspan: {owner: payments}"} {
		_, err := noted(t, note, required)
		if err == nil || !strings.Contains(err.Error(), "vaultspan: {hosts: [api.example.com]}") || reason(t, err) != vault.NoCredential {
			t.Errorf("%q: %v", note, err)
		}
	}
	v, err := noted(t, "vaultspan: {hosts: [api.example.com]}", required)
	if err != nil {
		t.Fatal(err)
	}
	if got := refused(t, v, wikiRef); got != vault.NoCredential {
		t.Errorf("the other secret, without a note: %q", got)
	}
	v.Govern(vault.Config{})
	lease(t, v, wikiRef)
	v.Govern(vault.Config{RequireBinding: true})
	if got := refused(t, v, wikiRef); got != vault.NoCredential {
		t.Errorf("required again: %q", got)
	}
}

// A note is followed within a refresh, with the value as it was; the log says
// once what it did, and how to mend it. FB09's neighbour: others are served.
func TestAChangedNoteIsFollowedWithinARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		var log bytes.Buffer
		s := setup(a)
		s.Logger = slog.New(slog.NewTextHandler(&log, nil))
		v := open(t, s)
		before := lease(t, v, stripeRef)
		time.Sleep(time.Second)
		a.annotate(stripeID, "vaultspan: {hosts: [CANARY.example.com]}")
		time.Sleep(31 * time.Second)
		if got := refused(t, v, stripeRef); got != vault.NoCredential {
			t.Errorf("after the note: %q", got)
		}
		lease(t, v, wikiRef)
		time.Sleep(10 * time.Minute)
		a.annotate(stripeID, "vaultspan: {hosts: [api.example.com], owner: payments}")
		time.Sleep(31 * time.Second)
		if after := lease(t, v, stripeRef); after.Fingerprint() != before.Fingerprint() {
			t.Error("the value changed with its note")
		}
		if got := v.Status().Secrets[0].Owner; got != "payments" {
			t.Errorf("owner %q", got)
		}
		v.Close()
		for _, line := range []string{"secret refused: the route is closed", "secret usable again"} {
			if n := strings.Count(log.String(), line); n != 1 {
				t.Errorf("%q is logged %d times:\n%s", line, n, log.String())
			}
		}
		if strings.Contains(log.String(), "CANARY") {
			t.Errorf("the log quotes a note:\n%s", log.String())
		}
	})
}

// An edited note is a new version of the same value: a destination that refused
// the value is not given it again for that.
func TestAnEditedNoteIsNoOtherValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		s := setup(a)
		s.Bindings[0].Overlap = time.Hour
		v := open(t, s)
		refused := lease(t, v, stripeRef)
		time.Sleep(time.Second)
		a.annotate(stripeID, "vaultspan: {owner: payments}")
		if l, err := v.Renew(t.Context(), refused); !errors.Is(err, vault.ErrUnchanged) {
			t.Errorf("%v, %v", l, err)
		}
		if v.Status().Secrets[0].Owner != "payments" {
			t.Error("the note that was read with it is not followed")
		}
		time.Sleep(31 * time.Second)
		if l, err := v.Renew(t.Context(), refused); !errors.Is(err, vault.ErrUnchanged) {
			t.Errorf("after a refresh: %v, %v", l, err)
		}
	})
}

// Whatever stands in a note, it is followed, free text or refused; the process
// lives, and no error quotes it. No note lets a secret go to a host that it does
// not hold.
func FuzzNote(f *testing.F) {
	for _, note := range []string{
		"", "CANARY free text", "vaultspan: {hosts: [api.example.com], owner: CANARY, max_age: 90d, expires: 2100-01-31}",
		"vaultspan:\n  hosts:\n    - CANARY.example.com\n  # CANARY\n\nCANARY", "vaultspan: &CANARY [*CANARY, !CANARY \"\\u00e4\"]", "\"vaultspan\": {<<: CANARY}",
		"vaultspan: {hosts: ['*.example.com:8443'], CANARY: ? : - |\n  CANARY}",
	} {
		f.Add(note)
	}
	f.Fuzz(func(t *testing.T, note string) {
		v, err := noted(t, note, func(s *vault.Setup) { s.Config.RequireBinding = true })
		if err != nil && strings.Contains(err.Error(), "CANARY") {
			t.Errorf("quoted: %v", err)
		}
		if err == nil && !strings.Contains(strings.ToLower(note), "example.com") && !strings.Contains(note, `\`) { // YAML's escapes can spell it
			t.Errorf("%q lets the secret go to api.example.com", note)
		}
		v.Close()
	})
}
