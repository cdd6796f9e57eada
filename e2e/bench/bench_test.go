package bench_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

func start(t *testing.T) *bench.Bench {
	t.Helper()
	b, err := bench.Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// An upstream may receive its own secret, and nobody anything else.
func TestLeaksAreFoundWhereverTheyAre(t *testing.T) {
	const mine = "CANARY-U2-of-this-test"
	leak := map[string]func(*bench.Bench){
		"an answer": func(b *bench.Bench) { b.Saw("an answer", []byte(mine)) },
		"what U1 received": func(b *bench.Bench) {
			resp, err := http.Get(b.Upstreams["U1"].URL + "/" + mine)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		},
		"what U3 received": func(b *bench.Bench) {
			token, err := b.Token(t.Context(), "agent-1 for alice")
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.Post(b.Upstreams["U3"].URL, "", strings.NewReader(token))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		},
	}
	for where, do := range leak {
		b := start(t)
		if err := b.Rotate("U2_KEY", mine); err != nil {
			t.Fatal(err)
		}
		req, _ := http.NewRequestWithContext(t.Context(), "GET", b.Upstreams["U2"].URL, nil)
		req.Header.Set("X-Api-Key", mine)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Fatalf("U2 answers %s to the rotated secret", resp.Status)
		}
		if found, err := b.Leaks(); err != nil || len(found) > 0 {
			t.Fatalf("before the leak: %v, %v", found, err)
		}
		do(b)
		found, err := b.Leaks()
		if err != nil || len(found) != 1 || found[0].Where != where {
			t.Errorf("%s: %v, %v", where, found, err)
		}
	}
}

func TestIssuersDisagreeAboutAlice(t *testing.T) {
	b := start(t)
	for _, who := range []string{"alice", "dex:alice", "ci-deployer", "dex:ci-deployer", "agent-1 for alice"} {
		if token, err := b.Token(t.Context(), who); err != nil || strings.Count(token, ".") != 2 {
			t.Errorf("%s: %q, %v", who, token, err)
		}
	}
	for _, who := range []string{"nobody", "dex:nobody", "agent-2 for alice"} {
		if _, err := b.Token(t.Context(), who); err == nil {
			t.Errorf("%s has a token", who)
		}
	}
	if err := b.Rotate("NONE", "whatever-it-is"); err == nil {
		t.Error("rotated a secret that is not there")
	}
}
