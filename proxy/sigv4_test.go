package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

// signed is an upstream that knows the id of one set of keys and answers 403 to
// all others, as S3 does; that signatures are right is for vault and e2e to show.
type signed struct {
	mu    sync.Mutex
	known string
	seen  []string // Authorization, of each request
}

func (s *signed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	authorization := r.Header.Get("Authorization")
	s.seen = append(s.seen, authorization)
	if err != nil {
		return
	}
	if !strings.HasPrefix(authorization, "AWS4-HMAC-SHA256 Credential="+s.known+"/") {
		http.Error(w, "<Error><Code>InvalidAccessKeyId</Code></Error>", http.StatusForbidden)
		return
	}
	fmt.Fprintf(w, "%s %d %s", s.known, len(body), r.Header.Get("X-Amz-Content-Sha256"))
}

func set(id string) string {
	return fmt.Sprintf(`{"access_key_id": %q, "secret_access_key": "CANARY-U1-5f0c2a77b1-key"}`, id)
}

// newSigned is a bench with the route aws.gw.test to such an upstream: over
// HTTP/2 with TLS, or on plain HTTP/1.
func newSigned(t *testing.T, secure bool, service string) (*bench, *signed) {
	t.Helper()
	up := &signed{known: "AKIAONE"}
	b := newBench(t, func(b *bench, routes []proxy.Route) []proxy.Route {
		b.u1.handler, b.u2.handler = up.ServeHTTP, up.ServeHTTP
		b.refresh = time.Hour // only a refusal makes the vault look
		b.secret1.Rotate(set("AKIAONE"))
		r := proxy.Route{
			Name: "AWS", Match: []string{"aws.gw.test/"}, Upstream: b.u2.URL, Secret: "prod/team-dev/U1_KEY",
			Inject:    vault.Injection{SigV4: vault.SigV4{Region: "eu-central-1", Service: service}},
			TokenFrom: []string{"x-amz-security-token"}, Rotation: proxy.Rotation{Refused: []int{401, 403}},
		}
		if secure {
			r.Upstream, r.UpstreamTLS = b.u1.URL, routes[0].UpstreamTLS
		}
		return append(routes, r)
	})
	return b, up
}

// sdk makes a request look like one of an SDK with keys that open nothing, and
// with a caller's token for a session.
func sdk(token, stated, body string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIADUMMY/20261126/eu-central-1/s3/aws4_request, SignedHeaders=host, Signature=0f")
		r.Header.Set("X-Amz-Date", "20200101T000000Z")
		r.Header.Set("X-Amz-Security-Token", token)
		if stated != "" {
			r.Header.Set("X-Amz-Content-Sha256", stated)
		}
		if body != "" {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		}
	}
}

// J-group neighbours: nothing of the caller's own signature or session passes,
// and keys that were rotated are noticed by S3's 403, and the request is signed
// anew.
func TestASignedRequestIsSentAgainAfterARotation(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for service, stated := range map[string]string{"s3": "UNSIGNED-PAYLOAD", "sqs": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"} {
			b, up := newSigned(t, secure, service)
			token := b.token(t, "alice")
			res, body := b.do(t, "PUT", "https://aws.gw.test/x?a=b", "", sdk(token, "", "hello"))
			if want := "AKIAONE 5 " + stated; res.StatusCode != 200 || body != want {
				t.Fatalf("%s tls=%v: %d %q, want %q", service, secure, res.StatusCode, body, want)
			}
			b.secret1.Rotate(set("AKIATWO"))
			up.mu.Lock()
			up.known = "AKIATWO"
			up.mu.Unlock()
			res, body = b.do(t, "PUT", "https://aws.gw.test/x?a=b", "", sdk(token, "", "hello"))
			if want := "AKIATWO 5 " + stated; res.StatusCode != 200 || body != want {
				t.Errorf("%s tls=%v: after the rotation %d %q, want %q", service, secure, res.StatusCode, body, want)
			}
			if len(up.seen) != 3 || !strings.Contains(up.seen[1], "AKIAONE") || strings.Contains(fmt.Sprint(up.seen), "DUMMY") {
				t.Errorf("%s tls=%v: the upstream saw %q", service, secure, up.seen)
			}
			requests := append(b.u1.requests(), b.u2.requests()...)
			for _, r := range requests {
				if got := fmt.Sprint(r.Header); strings.Contains(got, token) || strings.Contains(got, "20200101") {
					t.Errorf("%s tls=%v: the upstream got of the caller's %s", service, secure, got)
				}
			}
			codes := map[string]int{}
			for _, e := range b.records(t) {
				codes[e.Code]++
			}
			if codes["completed"] != 2 || codes["credential-refused"] != 1 {
				t.Errorf("%s tls=%v: recorded %v", service, secure, codes)
			}
		}
	}
}

// What cannot be signed is refused with a code of its own, whether that shows
// before the request is sent or in the midst of it.
func TestBodiesThatCannotBeSigned(t *testing.T) {
	none := strings.Repeat("0f", 32)
	const chunks = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	first := "10000;chunk-signature=" + none + "\r\n" + strings.Repeat("x", 64<<10) + "\r\n"
	for _, secure := range []bool{false, true} {
		b, up := newSigned(t, secure, "s3")
		sqs, other := newSigned(t, secure, "sqs")
		token, others := b.token(t, "alice"), sqs.token(t, "alice")
		for _, c := range []struct {
			stated, body string
			status       int
			code         string
		}{
			{"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "x", 400, "payload-unsignable"},
			{chunks, "nothing like a chunk", 400, "payload-unsignable"},
			{chunks, first + first + "no chunk", 400, "payload-unsignable"},
			{chunks, first + "1000001;chunk-signature=" + none + "\r\n", 413, "body-too-large"},
		} {
			res, body := b.do(t, "PUT", "https://aws.gw.test/x", "", sdk(token, c.stated, c.body))
			refused(t, res, body, c.status, c.code)
		}
		whole := first + "0;chunk-signature=" + none + "\r\n\r\n"
		if res, body := b.do(t, "PUT", "https://aws.gw.test/x", "", sdk(token, chunks, whole)); res.StatusCode != 200 || body != fmt.Sprintf("AKIAONE %d %s", len(whole), chunks) {
			t.Errorf("tls=%v: what can be signed got %d %s", secure, res.StatusCode, body)
		}
		res, body := sqs.do(t, "POST", "https://aws.gw.test/x", "", sdk(others, "", strings.Repeat("x", 1<<20+1)))
		refused(t, res, body, 413, "body-too-large")
		for name, change := range map[string]func(*http.Request){
			"two":    func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+b.token(t, "alice")) },
			"twice":  func(r *http.Request) { r.Header.Add("X-Amz-Security-Token", token) },
			"signed": func(r *http.Request) { r.Header.Add("Authorization", "Bearer "+token) },
		} {
			res, body := b.do(t, "PUT", "https://aws.gw.test/x", "", sdk(token, "", ""), change)
			if res.StatusCode != 400 || !strings.Contains(body, "ambiguous-credentials") {
				t.Errorf("tls=%v %s: %d %s", secure, name, res.StatusCode, body)
			}
		}
		for _, query := range []string{"X-Amz-Signature=0f", "x-amz-credential=x", "X-Amz-Security-Token=" + token} {
			res, body := b.do(t, "GET", "https://aws.gw.test/x?"+query, "", sdk(token, "", ""))
			refused(t, res, body, 400, "parameter-reserved")
		}
		if len(other.seen) > 0 {
			t.Errorf("tls=%v: a body that is too large to be hashed reached the upstream", secure)
		}
		codes := map[string]int{}
		for _, e := range b.records(t) {
			codes[e.Code]++
		}
		if codes["payload-unsignable"] != 3 || codes["body-too-large"] != 1 || codes["completed"] != 1 || len(up.seen) < 1 {
			t.Errorf("tls=%v: recorded %v", secure, codes)
		}
	}
}
