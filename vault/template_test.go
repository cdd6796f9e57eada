package vault_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/vault"
)

// filled is a name made for a caller of whom value is known.
func filled(t *testing.T, name string, value map[string]string) string {
	t.Helper()
	template, err := vault.ParseTemplate(name)
	if err != nil {
		t.Fatal(err)
	}
	got, err := template.Expand(func(place string) string { return value[place] })
	if err != nil {
		return "error: " + err.Error()
	}
	return got
}

// A caller's own name is spelled so that it can be no other's, and so that the
// operator can write it by hand.
func TestWhatIsTheCallersIsEscaped(t *testing.T) {
	for value, want := range map[string]string{
		"alice":                                "alice",
		"alice@example.com":                    "alice@example.com",
		"auth0|42":                             "auth0%7C42",
		"auth0%7C42":                           "auth0%257C42",
		"%":                                    "%25",
		"a/b":                                  "a%2Fb",
		"..":                                   "..",
		"../STRIPE":                            "..%2FSTRIPE",
		"Alice":                                "Alice",
		"alice ":                               "alice%20",
		"\u0430lice":                           "%D0%B0lice",   // a Cyrillic a
		"jos\u00e9":                            "jos%C3%A9",    // composed
		"jose\u0301":                           "jose%CC%81",   // decomposed
		"\u212aarl":                            "%E2%84%AAarl", // the Kelvin sign
		"\xff":                                 "%FF",
		"\ufffd":                               "%EF%BF%BD",
		"a\x00b":                               "a%00b",
		"{subject}":                            "%7Bsubject%7D",
		"a\r\nb":                               "a%0D%0Ab",
		"22222222-0000-4000-8000-000000000001": "22222222-0000-4000-8000-000000000001",
		strings.Repeat("a|", 150):              strings.Repeat("a%7C", 150),
		"repo:acme/api:ref:refs/heads/main":    "repo%3Aacme%2Fapi%3Aref%3Arefs%2Fheads%2Fmain",
		"https://idp.example.com/realms/x#1":   "https%3A%2F%2Fidp.example.com%2Frealms%2Fx%231",
	} {
		if got := filled(t, "jira-{subject}-key", map[string]string{"subject": value}); got != "jira-"+want+"-key" {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
}

// Two callers whose issuers and subjects differ never share a name.
func FuzzNamesAreApart(f *testing.F) {
	f.Add("a", "b:c", "a:b", "c")
	f.Add("a", "%3Ab", "a:", "b")
	f.Add("x", "y", "x", "y")
	f.Fuzz(func(t *testing.T, issuer, subject, otherIssuer, otherSubject string) {
		if issuer == "" || subject == "" || otherIssuer == "" || otherSubject == "" {
			return
		}
		const name = "p-{issuer}-:{subject}s"
		one := filled(t, name, map[string]string{"issuer": issuer, "subject": subject})
		other := filled(t, name, map[string]string{"issuer": otherIssuer, "subject": otherSubject})
		if same := issuer == otherIssuer && subject == otherSubject; same != (one == other) {
			t.Errorf("%q and %q, %q and %q: both %q", issuer, subject, otherIssuer, otherSubject, one)
		}
		if strings.Contains(one, "/") {
			t.Errorf("%q has a slash", one)
		}
	})
}

func TestAnEmptyValueNamesNothing(t *testing.T) {
	template, err := vault.ParseTemplate("{subject}:{claims.team}")
	if err != nil {
		t.Fatal(err)
	}
	got, err := template.Expand(func(place string) string { return map[string]string{"subject": "alice"}[place] })
	if !errors.Is(err, vault.ErrNoValue) || got != "" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTemplatesAreReadOneWay(t *testing.T) {
	for name, want := range map[string]string{
		"{subject}":                        "",
		"KEY":                              "",
		"KEY%":                             "",
		"{issuer}:{subject}":               "",
		"{issuer}--+--{claims.a.b}":        "",
		"{sub}":                            "is nothing of the caller's",
		"{}":                               "is nothing of the caller's",
		"{Subject}":                        "is nothing of the caller's",
		"{subject }":                       "is nothing of the caller's",
		"{claims.}":                        "is nothing of the caller's",
		"{claims.a..b}":                    "is nothing of the caller's",
		"{groups}":                         "is nothing of the caller's",
		"{subject":                         "a brace alone",
		"subject}":                         "a brace alone",
		"{{subject}}":                      "a brace alone",
		"{subject}%41":                     "a % of its own",
		"{issuer}{subject}":                "could run together",
		"{issuer}-{subject}":               "could run together",
		"{issuer}.{subject}@{claims.team}": "could run together",
	} {
		_, err := vault.ParseReference("prod/people/" + name)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	for _, reference := range []string{"{issuer}/people/KEY", "prod/{subject}/KEY", "prod/{claims.team}/{subject}"} {
		if _, err := vault.ParseReference(reference); err == nil {
			t.Errorf("%s is taken: a caller would choose its collection", reference)
		}
	}
}

func TestTemplatesThatMeetAreFound(t *testing.T) {
	for _, c := range []struct {
		one, other string
		meet       bool
	}{
		{"{subject}", "{email}", true},
		{"{subject}", "STRIPE_API_KEY", true},
		{"jira-{subject}", "jira-admin", true},
		{"jira-{subject}", "jira-", false},
		{"jira-{subject}", "github-{subject}", false},
		{"jira-{subject}", "jira-x-{subject}", true},
		{"{subject}-jira", "{subject}-github", false},
		{"jira-{subject}", "STRIPE_API_KEY", false},
		{"a{subject}a", "a", false},
	} {
		one, _ := vault.ParseTemplate(c.one)
		other, _ := vault.ParseTemplate(c.other)
		if one.Overlaps(other) != c.meet || other.Overlaps(one) != c.meet {
			t.Errorf("%s and %s: want %t", c.one, c.other, c.meet)
		}
	}
}
