package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// soak is how long TestRotationsUnderLoad rotates: twelve times in it. The
// figures in docs/performance.md are of -soak 60s.
var soak = flag.Duration("soak", 6*time.Second, "how long a secret is rotated under load, twelve times in all")

// A secret is rotated twelve times under 200 requests a second, with bodies of up
// to 64 KiB, and the vault is looked at every 30 s: only refusals can tell the
// gateway. With an upstream that takes the two newest versions no caller sees a
// failure. With one that takes the newest only, whatever a caller sees is the
// refusal of a second recorded attempt, and less than one in a thousand. Attempt
// by attempt, the version on record is the one that the upstream saw.
func TestRotationsUnderLoad(t *testing.T) {
	for _, keep := range []int{2, 1} {
		t.Run(fmt.Sprintf("the newest %d", keep), func(t *testing.T) {
			w := newWorkshop(t)
			token, err := w.Token(t.Context(), "alice")
			if err != nil {
				t.Fatal(err)
			}
			g := w.serve()
			w.served(g, time.Now())
			ctx, stop := context.WithTimeout(t.Context(), *soak)
			defer stop()
			var answers map[int]int
			var load sync.WaitGroup
			load.Go(func() { answers = pour(ctx, g.URL, token) })
			u1, every := w.Upstreams["U1"], time.NewTicker(*soak/12)
			defer every.Stop()
			rotations := 0
			for ctx.Err() == nil {
				select {
				case <-every.C:
					rotations++
					if err := w.Rotate("U1_TOKEN", fmt.Sprintf("CANARY-U1-rotation-%d", rotations)); err != nil {
						t.Fatal(err)
					}
					u1.Keep(keep)
				case <-ctx.Done():
				}
			}
			load.Wait()
			if err := g.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if out, err := w.verify("audit"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			all, failed := 0, 0
			for status, n := range answers {
				if all += n; status != http.StatusOK {
					failed += n
				}
			}
			if keep > 1 && failed > 0 || failed*1000 >= all {
				t.Errorf("answers %v", answers)
			}
			second, refused := w.agree()
			if refused != failed {
				t.Errorf("%d callers saw a failure, %d second attempts were refused", failed, refused)
			}
			t.Logf("%d rotations, %d requests %v; %d second attempts", rotations, all, answers, second)
			if all < int(soak.Seconds()*20) || second == 0 && keep == 1 {
				t.Errorf("%d requests and %d second attempts are no test", all, second)
			}
			if found, err := w.Leaks(w.dir); err != nil || len(found) > 0 {
				t.Errorf("leaks: %v, %v", found, err)
			}
		})
	}
}

// pour sends 200 requests a second until ctx ends, lets each end, and counts
// their statuses.
func pour(ctx context.Context, url, token string) map[int]int {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	defer client.CloseIdleConnections()
	body := strings.Repeat("x", 64<<10)
	var mu sync.Mutex
	answers := map[int]int{}
	var under sync.WaitGroup
	defer under.Wait()
	ticker := time.NewTicker(time.Second / 200)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			under.Wait()
			return maps.Clone(answers)
		}
		under.Go(func() {
			status := 0
			req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, fmt.Sprintf("%s/u1/%d", url, n), strings.NewReader(body[:n*997%len(body)]))
			if err == nil {
				req.Header.Set("Authorization", "Bearer "+token)
				if resp, err := client.Do(req); err == nil {
					status = resp.StatusCode
					resp.Body.Close()
				}
			}
			mu.Lock()
			defer mu.Unlock()
			answers[status]++
		})
	}
}

// agree compares the log with what the upstream saw, attempt by attempt, and
// counts second attempts, and those of them that were refused.
func (w *workshop) agree() (second, refused int) {
	versions := map[string]string{} // by attempt
	for _, name := range w.segments("audit") {
		for line := range bytes.Lines(w.read(name)) {
			var e struct{ Kind, Attempt, Version string }
			if err := json.Unmarshal(line, &e); err != nil {
				w.t.Fatal(err)
			}
			if e.Kind == "intent" {
				versions[e.Attempt] = e.Version
			}
		}
	}
	seen, recorded := map[string]int{}, map[int]string{}
	for _, use := range w.Upstreams["U1"].Uses() {
		version := versions[use.Attempt]
		again := strings.HasSuffix(use.Attempt, "-2")
		if again {
			second++
		}
		switch {
		case version == "":
			w.t.Errorf("%s has no intent", use.Attempt)
		case use.Credential == 0 && again:
			refused++
		case use.Credential == 0:
		case seen[version] != 0 && seen[version] != use.Credential, recorded[use.Credential] != "" && recorded[use.Credential] != version:
			w.t.Fatalf("%s is recorded with %s, and the upstream saw credential %d", use.Attempt, version, use.Credential)
		default:
			seen[version], recorded[use.Credential] = use.Credential, version
		}
	}
	return second, refused
}
