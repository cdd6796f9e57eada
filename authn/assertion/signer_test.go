package assertion_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/vaultspan/vaultspan/authn/assertion"
)

// The seeds of these tests.
var (
	seedA = strings.Repeat("a1", 32)
	seedB = strings.Repeat("b2", 32)
)

// noon is in the middle of a day.
var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// clock is one that a test sets.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

func newSigner(t testing.TB, c *clock, seeds ...string) *assertion.Signer {
	t.Helper()
	s, err := assertion.New(assertion.Setup{
		Config:  assertion.Config{Key: func() string { return strings.Join(seeds, "\n") }},
		Gateway: "https://gw.test/", Issuers: map[string]string{"corp": "https://login.test"}, Now: c.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func alice(at time.Time) assertion.Claims {
	return assertion.Claims{
		Route: "wiki", Request: "4bf92f3577b34da6a3ce929d0e0e4736-1", Issuer: "corp", Subject: "alice", Kind: "agent", Email: "alice@corp.test",
		Groups: []string{"staff", "a,b", "größe"}, Roles: []string{"wiki-reader"}, Actors: []string{"agent-1", "planner"}, Expires: at.Add(time.Hour),
	}
}

// published is the set as a verifier reads it.
func published(t testing.TB, s *assertion.Signer) jose.JSONWebKeySet {
	t.Helper()
	text, _, err := s.Keys()
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	return set
}

func sign(t testing.TB, s *assertion.Signer, c assertion.Claims) string {
	t.Helper()
	token, _, err := s.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// verify is what a verifier does with a library, without a look at a clock.
func verify(token string, set jose.JSONWebKeySet) (map[string]any, error) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return nil, err
	}
	if typ := parsed.Headers[0].ExtraHeaders[jose.HeaderType]; typ != assertion.Type {
		return nil, fmt.Errorf("typ is %v", typ)
	}
	claims := map[string]any{}
	return claims, parsed.Claims(set, &claims)
}

func TestAnAssertionSaysWhoIsCalling(t *testing.T) {
	s := newSigner(t, &clock{noon}, seedA)
	claims, err := verify(sign(t, s, alice(noon)), published(t, s))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	at := noon.Unix()
	want := fmt.Sprintf(`{"act":{"act":{"sub":"corp:planner"},"sub":"corp:agent-1"},"aud":"wiki","email":"alice@corp.test","exp":%d,`+
		`"groups":["staff","a,b","größe"],"iat":%d,"iss":"https://gw.test","jti":"4bf92f3577b34da6a3ce929d0e0e4736-1","kind":"agent","nbf":%d,`+
		`"roles":["wiki-reader"],"sub":"corp:alice","sub_id":{"format":"iss_sub","iss":"https://login.test","sub":"alice"}}`, at+60, at, at-30)
	if string(got) != want {
		t.Errorf("it says\n%s, want\n%s", got, want)
	}

	claims, err = verify(sign(t, s, assertion.Claims{Route: "wiki", Issuer: "corp", Subject: "bob", Expires: noon.Add(time.Hour)}), published(t, s))
	if err != nil || fmt.Sprint(claims["groups"], claims["roles"], claims["email"], claims["act"], claims["groups_omitted"]) != "[] [] <nil> <nil> <nil>" {
		t.Errorf("of little it says %v %v", claims, err)
	}
}

// Nothing that was vouched for goes on for longer here than there.
func TestAnAssertionEndsWithWhatTheIssuerVouchedFor(t *testing.T) {
	for _, c := range []struct{ left, want time.Duration }{
		{time.Hour, time.Minute}, {time.Minute, time.Minute}, {20 * time.Second, 20 * time.Second}, {time.Second, time.Second},
		{0, 10 * time.Second}, {-30 * time.Second, 10 * time.Second},
	} {
		s := newSigner(t, &clock{noon}, seedA)
		claims := alice(noon)
		claims.Expires = noon.Add(c.left)
		got, err := verify(sign(t, s, claims), published(t, s))
		if want := float64(noon.Add(c.want).Unix()); err != nil || got["exp"] != want {
			t.Errorf("with %v left it ends at %v, want %v (%v)", c.left, got["exp"], want, err)
		}
	}
}

// Group lists can be long, and header fields cannot. A list is never cut: half of
// it could lack the one group that takes something away.
func TestAListIsWholeOrNotThere(t *testing.T) {
	s := newSigner(t, &clock{noon}, seedA)
	whole, cut := 0, 0
	for n := range 500 {
		claims := alice(noon)
		claims.Groups = slices.Repeat([]string{"6f9619ff-8b86-d011-b42d-00c04fc964ff"}, n)
		token, complete, err := s.Sign(claims)
		if err != nil || len(token) > assertion.MaxSize {
			t.Fatalf("%d groups: %d bytes, %v", n, len(token), err)
		}
		got, err := verify(token, published(t, s))
		if err != nil {
			t.Fatal(err)
		}
		groups, there := got["groups"].([]any)
		switch {
		case complete && there && len(groups) == n && got["groups_omitted"] == nil:
			whole++
		case !complete && !there && got["groups_omitted"] == true:
			cut++
		default:
			t.Fatalf("%d groups: complete %v, there are %d, omitted %v", n, complete, len(groups), got["groups_omitted"])
		}
	}
	if whole < 100 || cut < 100 {
		t.Errorf("%d lists were whole and %d were left out", whole, cut)
	}
	claims := alice(noon)
	claims.Subject = strings.Repeat("x", assertion.MaxSize)
	if token, _, err := s.Sign(claims); err == nil || token != "" {
		t.Errorf("%d bytes were signed: %v", len(token), err)
	}
}

// Nothing that prints shows the seed.
func TestNothingPrintsTheSeed(t *testing.T) {
	config := assertion.Config{Key: func() string { return seedA }}
	s := newSigner(t, &clock{noon}, seedA)
	sign(t, s, alice(noon))
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "signer", s, "config", config)
	texts := []string{logged.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		texts = append(texts, fmt.Sprintf(verb, s), fmt.Sprintf(verb, config), fmt.Sprintf(verb, &config))
	}
	for _, text := range texts {
		if strings.Contains(text, seedA) || strings.Contains(text, "161 161") || strings.Contains(text, "0xa1, 0xa1") {
			t.Errorf("printing shows the seed: %.300s", text)
		}
	}
}

func BenchmarkAssertion(b *testing.B) {
	for _, groups := range []int{3, 100} {
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) {
			s, claims := newSigner(b, &clock{noon}, seedA), alice(noon)
			claims.Groups = slices.Repeat([]string{"6f9619ff-8b86-d011-b42d-00c04fc964ff"}, groups)
			b.ReportAllocs()
			for b.Loop() {
				sign(b, s, claims)
			}
		})
	}
}

func BenchmarkNewPeriod(b *testing.B) {
	c := &clock{noon}
	s := newSigner(b, c, seedA)
	for b.Loop() {
		c.Time = c.Add(24 * time.Hour)
		if _, _, err := s.Keys(); err != nil {
			b.Fatal(err)
		}
	}
}
