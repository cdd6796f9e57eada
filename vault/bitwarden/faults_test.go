//go:build cgo

package bitwarden_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/vault"
	"github.com/vaultspan/vaultspan/vault/bitwarden"
	"github.com/vaultspan/vaultspan/vault/bwemu"
)

// fetching is the endpoints of a Fetch, in their order.
var fetching = []bwemu.Endpoint{bwemu.Token, bwemu.Projects, bwemu.Sync}

// soon bounds what must end at a deadline of some milliseconds. It is far above
// what it takes and far below for ever.
const soon = 10 * time.Second

func TestHangEndsAtTheDeadline(t *testing.T) { // FB03
	for _, endpoint := range fetching {
		t.Run(string(endpoint), func(t *testing.T) {
			w := newWorld(t, func(w *world) {
				w.setup.Config.Timeout = 200 * time.Millisecond
				w.setup.Budgets = &bitwarden.Budgets{Times: 1000}
			})
			w.emulator.Fault(bwemu.Fault{Endpoint: endpoint, Hang: true})
			w.fails(vault.Unreachable) // from here on, what is started stays
			goroutines, threads := runtime.NumGoroutine(), threadsOf(t)
			for range max(3, *refreshes/24) { // an hour of a day's
				begun := time.Now()
				failure := w.fails(vault.Unreachable)
				if took := time.Since(begun); took > soon {
					t.Errorf("a Fetch with 200 ms took %s", took)
				}
				if !strings.Contains(failure.Error(), "in time") {
					t.Errorf("%v: want that it was too late", failure)
				}
			}
			if now := runtime.NumGoroutine(); now > goroutines+5 {
				t.Errorf("%d goroutines became %d", goroutines, now)
			}
			t.Logf("%d goroutines became %d, %d threads %d", goroutines, runtime.NumGoroutine(), threads, threadsOf(t))
			if now := threadsOf(t); now > threads+5 {
				t.Errorf("%d threads became %d", threads, now)
			}
		})
	}
}

func TestClientIsUsableAfterAHang(t *testing.T) {
	w := newWorld(t)
	w.fetch(time.Time{})
	for _, endpoint := range fetching[1:] {
		w.emulator.Fault(bwemu.Fault{Endpoint: endpoint, Hang: true})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if _, err := w.client.Fetch(ctx, time.Time{}, everything); err == nil {
			t.Errorf("%s: a Fetch from a server that hangs succeeded", endpoint)
		}
		cancel()
		w.emulator.Clear()
		if got := w.fetch(time.Time{}); len(got.Secrets) != 2 {
			t.Errorf("%s: afterwards %d secrets, want 2", endpoint, len(got.Secrets))
		}
	}
}

// threadsOf counts the threads of this process.
func threadsOf(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Skip("threads are counted in /proc: ", err)
	}
	return len(entries)
}

func TestThrottledIsHeardAndNotAnsweredWithALogin(t *testing.T) { // FB05
	for _, endpoint := range fetching[1:] {
		w := newWorld(t)
		w.fetch(time.Time{})
		w.emulator.Fault(bwemu.Fault{Endpoint: endpoint, Status: http.StatusTooManyRequests, RetryAfter: "70",
			Body: "Slow down! Too many requests. Try again in 1s."})
		if failure := w.fails(vault.Throttled); failure.RetryAfter != 70*time.Second || failure.Status != http.StatusTooManyRequests {
			t.Errorf("%s: %+v, want a wait of 70s", endpoint, failure)
		}
		before := w.emulator.Stats()
		for range 50 {
			if failure := w.fails(vault.Throttled); failure.RetryAfter < time.Minute {
				t.Fatalf("%s: wait %s, want what is left of 70s", endpoint, failure.RetryAfter)
			}
		}
		for e, n := range w.emulator.Stats() {
			if n != before[e] {
				t.Errorf("%s: %d requests to %s while the server asked for silence", endpoint, n-before[e], e)
			}
		}
		if logins := w.emulator.Count(bwemu.Token); logins != 1 {
			t.Errorf("%s: %d logins, want 1", endpoint, logins)
		}
	}
}

func TestRevokedIsTriedAFewTimes(t *testing.T) { // FB07
	for _, when := range []string{"before the login", "later"} {
		clock := time.Now()
		w := newWorld(t, func(w *world) { w.setup.Now = func() time.Time { return clock } })
		if when == "later" {
			w.fetch(time.Time{})
		}
		before := w.emulator.Count(bwemu.Token)
		w.account.Revoke()
		w.fails(vault.Unauthorized)
		for range 90 {
			clock = clock.Add(10 * time.Second)
			if failure := w.fails(vault.Unauthorized); failure.RetryAfter == 0 && failure.Status == 0 {
				t.Errorf("%s: %v: want when the next login is", when, failure)
			}
		}
		if logins := w.emulator.Count(bwemu.Token) - before; logins > 3 {
			t.Errorf("%s: %d logins in the quarter of an hour after the token was revoked, want 3 at most", when, logins)
		}
		w.account.Restore()
		clock = clock.Add(time.Hour)
		if got := w.fetch(time.Time{}); len(got.Secrets) != 2 {
			t.Errorf("%s: accepted again, %d secrets, want 2", when, len(got.Secrets))
		}
	}
}

func TestEndedSessionIsOpenedAgain(t *testing.T) {
	w := newWorld(t)
	w.fetch(time.Time{})
	w.account.EndSessions()
	if got := w.fetch(time.Time{}); len(got.Secrets) != 2 {
		t.Errorf("%d secrets, want 2", len(got.Secrets))
	}
	if logins := w.emulator.Count(bwemu.Token); logins != 2 {
		t.Errorf("%d logins, want 2", logins)
	}
}

func TestLoginsThatDoNotHelpAreNotRepeated(t *testing.T) { // FB07
	w := newWorld(t)
	w.emulator.Fault(bwemu.Fault{Endpoint: bwemu.Projects, Status: http.StatusUnauthorized})
	for range 50 {
		w.fails(vault.Unauthorized)
	}
	if logins := w.emulator.Count(bwemu.Token); logins > 2 {
		t.Errorf("%d logins in 50 refreshes, want 2 at most", logins)
	}
}

func TestShortSessionsDoNotStormTheIdentityService(t *testing.T) {
	w := newWorld(t, func(w *world) { w.setup.Config.Timeout = time.Second })
	w.emulator.SessionLifetime(10 * time.Second) // the SDK renews what has less than 300 s left, with every call
	for range 10 {
		w.client.Fetch(t.Context(), time.Time{}, everything)
	}
	if logins := w.emulator.Count(bwemu.Token); logins > 5 {
		t.Errorf("%d logins, want what the budget lets through", logins)
	}
}

func TestUnusableAnswers(t *testing.T) {
	elsewhere := 0
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer thief.Close()
	for _, test := range []struct {
		name  string
		fault bwemu.Fault
	}{
		{"500", bwemu.Fault{Status: 500, Body: "Bearer leaked-canary"}},
		{"503", bwemu.Fault{Status: 503}},
		{"418", bwemu.Fault{Status: 418}},
		{"a web page", bwemu.Fault{HTML: true}},
		{"cut off", bwemu.Fault{Truncate: true}},
		{"a giant", bwemu.Fault{Giant: 20 << 20}},
		{"empty", bwemu.Fault{Status: 200}},
		{"null", bwemu.Fault{Body: "null"}},
		{"nothing", bwemu.Fault{Body: "{}"}},
		{"null for a list", bwemu.Fault{Body: `{"data":null,"hasChanges":true,"secrets":null}`}},
		{"an array", bwemu.Fault{Body: "[]"}},
		{"more than one value", bwemu.Fault{Body: "{}{}"}},
		{"deep", bwemu.Fault{Body: strings.Repeat("[", 1<<16)}},
		{"a redirect", bwemu.Fault{Status: 307, Location: thief.URL}},
		{"a NUL", bwemu.Fault{Edit: func(b []byte) []byte { return bytes.Replace(b, []byte(`"2.`), []byte("\"\x002."), 1) }}},           // FB15
		{"an escaped NUL", bwemu.Fault{Edit: func(b []byte) []byte { return bytes.Replace(b, []byte(`"2.`), []byte(`"\u00002.`), 1) }}}, // FB15
		{"invalid UTF-8", bwemu.Fault{Edit: func(b []byte) []byte { return bytes.Replace(b, []byte(`"2.`), []byte("\"\xff2."), 1) }}},   // FB15
	} {
		for _, endpoint := range fetching {
			if test.fault.Giant > 0 && endpoint == bwemu.Sync {
				continue // then secrets are read by id
			}
			t.Run(test.name+"/"+string(endpoint), func(t *testing.T) {
				w := newWorld(t)
				fault := test.fault
				fault.Endpoint = endpoint
				w.emulator.Fault(fault)
				if failure := w.fails(vault.Unusable); strings.Contains(failure.Error(), "canary") {
					t.Errorf("%v quotes the server", failure)
				}
				w.emulator.Clear()
				if got := w.fetch(time.Time{}); len(got.Secrets) != 2 {
					t.Errorf("afterwards %d secrets, want 2", len(got.Secrets))
				}
			})
		}
	}
	if elsewhere != 0 {
		t.Errorf("%d requests followed a redirect", elsewhere)
	}
}

func TestGiantTokenReplyInTheMiddleOfAFetch(t *testing.T) {
	w := newWorld(t)
	w.fetch(time.Time{})
	w.emulator.Fault(bwemu.Fault{Endpoint: bwemu.Sync, Status: http.StatusUnauthorized})
	w.emulator.Fault(bwemu.Fault{Endpoint: bwemu.Token, Giant: 20 << 20})
	w.fails(vault.Unusable)
}

func TestTokenRepliesThatWouldEndTheProcess(t *testing.T) { // FB15
	replace := func(old, new string) bwemu.Fault {
		return bwemu.Fault{Edit: func(b []byte) []byte {
			if !bytes.Contains(b, []byte(old)) {
				t.Errorf("the token reply has no %s", old)
			}
			return bytes.Replace(b, []byte(old), []byte(new), 1)
		}}
	}
	for name, fault := range map[string]bwemu.Fault{
		"no encrypted_payload":    {NoPayload: true},
		"a null payload":          replace(`"encrypted_payload":"`, `"encrypted_payload":null,"x":"`),
		"an empty payload":        replace(`"encrypted_payload":"`, `"encrypted_payload":"","x":"`),
		"a payload of type 0":     replace(`"encrypted_payload":"2.`, `"encrypted_payload":"0.`),
		"two payloads":            replace(`{"`, `{"encrypted_payload":"x","`),
		"a payload in capitals":   replace(`encrypted_payload`, `Encrypted_Payload`),
		"no expires_in":           replace(`expires_in`, `expires`),
		"expires_in of for ever":  replace(`"expires_in":3600`, `"expires_in":9223372036854775807`),
		"expires_in beyond int64": replace(`"expires_in":3600`, `"expires_in":18446744073709551615`),
		"a negative expires_in":   replace(`"expires_in":3600`, `"expires_in":-1`),
		"an opaque access_token":  replace(`"access_token":"`, `"access_token":"opaque","x":"`),
		"a header line":           replace(`"access_token":"`, `"access_token":"a\r\nX: y","x":"`),
		"a JWT of nothing":        replace(`"access_token":"`, `"access_token":"..","x":"`),
		"a JWT of no claims":      replace(`"access_token":"`, `"access_token":"e30.e30.e30","x":"`),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			fault.Endpoint = bwemu.Token
			w.emulator.Fault(fault)
			w.fails(vault.Unusable)
			w.emulator.Clear()
			if got := w.fetch(time.Time{}); len(got.Secrets) != 2 {
				t.Errorf("afterwards %d secrets, want 2", len(got.Secrets))
			}
		})
	}
}

func TestOddTextsThatWereEncrypted(t *testing.T) { // FB15: the bridge cannot see them
	for _, text := range []string{"a\x00b", "\x00", "\xff\xfe", "\u2028", "\U0010ffff", ""} {
		w := newWorld(t)
		w.org.AddSecret(text, text, text, w.payments)
		w.account.Reads(w.payments, w.org.AddProject(text))
		if got := values(w.fetch(time.Time{})); got["STRIPE_API_KEY"] != "sk_test_canary" {
			t.Errorf("beside a secret of %q, %d secrets", text, len(got))
		}
	}
}

func TestUnreachable(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	w := newWorld(t, func(w *world) { w.setup.Config.API, w.setup.Config.Identity = closed.URL, closed.URL })
	if failure := w.fails(vault.Unreachable); !strings.Contains(failure.Error(), "refused") {
		t.Errorf("%v: want that the connection was refused", failure)
	}
}

func TestAccessTokensThatDoNotFit(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(w *world)
		reason vault.Reason
		says   string
	}{
		{"FB19 a region's token elsewhere", func(w *world) {
			other := bwemu.New().AddOrganization().AddAccount("gateway")
			w.setup.Config.AccessToken = other.AccessToken
		}, vault.Unauthorized, "another region"},
		{"another key behind the colon", func(w *world) {
			id, _, _ := strings.Cut(w.account.AccessToken(), ":")
			w.setup.Config.AccessToken = func() string { return id + ":" + base64.StdEncoding.EncodeToString(make([]byte, 16)) }
		}, vault.Unauthorized, "behind the colon"},
		{"another organization's", func(w *world) {
			w.setup.Config.AccessToken = w.emulator.AddOrganization().AddAccount("gateway").AccessToken
		}, vault.Forbidden, "another organization"},
		{"no project", func(w *world) { w.account.Reads() }, vault.Forbidden, "no project"},
	} {
		w := newWorld(t, test.change)
		_, err := bitwarden.Probe(t.Context(), w.setup)
		failure, ok := err.(*vault.SourceError)
		if !ok || failure.Reason != test.reason || !strings.Contains(failure.Error(), test.says) {
			t.Errorf("%s: Probe = %v; want %s, %q", test.name, err, test.reason, test.says)
		}
		for part := range strings.FieldsFuncSeq(w.setup.Config.AccessToken(), func(r rune) bool { return r == '.' || r == ':' }) {
			if len(part) > 1 && strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v quotes the access token", test.name, err)
			}
		}
	}
	// Its id is that of the machine account, not of the token.
	w := newWorld(t)
	account, err := bitwarden.Probe(t.Context(), w.setup)
	if err != nil || account == "" {
		t.Errorf("Probe of a working account: %q, %v", account, err)
	}
	w.setup.Config.AccessToken = w.account.AddToken("again").AccessToken
	if again, err := bitwarden.Probe(t.Context(), w.setup); err != nil || again != account {
		t.Errorf("another token of it: %q, want %q, %v", again, account, err)
	}
	w.setup.Config.AccessToken = w.org.AddAccount("another", w.payments).AccessToken
	if other, err := bitwarden.Probe(t.Context(), w.setup); err != nil || other == account || other == "" {
		t.Errorf("another account: %q, want not %q, %v", other, account, err)
	}
}
