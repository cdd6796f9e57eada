package clients_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const s3Region = "eu-central-1"

const s3Route = `{name: s3, match: [/aws/], strip: /aws, upstream: "%s", upstream_tls: {ca: %s}, secret: prod/team-dev/S3, inject: {sigv4: {region: eu-central-1, service: s3}}, token_from: [x-amz-security-token], rotation: {refused: [401, 403]}}`

// bucket starts a server that believes one set of keys, which is in the vault.
func (w *world) bucket() (*bucketServer, *httptest.Server) {
	w.t.Helper()
	id, key := "AKIA"+rand.Text()[:16], "CANARY-S3-"+rand.Text()
	if err := w.AddSecret("team-dev", "S3", fmt.Sprintf(`{"access_key_id": %q, "secret_access_key": %q}`, id, key)); err != nil {
		w.t.Fatal(err)
	}
	w.Plant(key)
	if err := w.keys.Add(key, wide(key)); err != nil {
		w.t.Fatal(err)
	}
	s := &bucketServer{region: s3Region, keys: map[string]string{id: key}, objects: map[string]string{}}
	server := httptest.NewUnstartedServer(s)
	server.EnableHTTP2 = true
	server.StartTLS()
	w.t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return s, server
}

// s3Client is the SDK as anybody has it, with keys that open nothing and a
// caller's token for a session.
func (w *world) s3Client(url, token string) *s3.Client {
	transport := &http.Transport{TLSClientConfig: w.trust.Clone(), ForceAttemptHTTP2: true}
	w.t.Cleanup(transport.CloseIdleConnections)
	return s3.New(s3.Options{
		Region: s3Region, BaseEndpoint: &url, UsePathStyle: true, HTTPClient: &http.Client{Transport: transport}, RetryMaxAttempts: 1,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported, // as aws/config has it
		Credentials:                credentials.NewStaticCredentialsProvider("AKIADUMMYDUMMYDUMMY0", "the dummy's secret access key", token),
	})
}

// answered is how the service, or the gateway, answered what the SDK calls an
// error.
func answered(err error) int {
	if e, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		return e.HTTPStatusCode()
	}
	return 0
}

// stream reads like what is made while it is sent: there is no way back in it.
type stream struct{ r io.Reader }

func (s stream) Read(p []byte) (int, error) { return s.r.Read(p) }

// The promise of sigv4: an SDK with dummy keys works, and what arrives is signed
// with the vault's keys and with no other.
func TestS3(t *testing.T) {
	t.Parallel()
	w := open(t)
	bucket, server := w.bucket()
	route := fmt.Sprintf(s3Route, server.URL, w.authority(server))
	for _, g := range w.serve(route) {
		t.Run(g.name, func(t *testing.T) {
			client := w.s3Client(g.url+"/aws", w.token("agent-1"))
			w.objects(t, bucket, client, g)
			w.strangers(t, bucket, g)
			w.forgeries(t, bucket, server)
		})
	}
}

// keys of objects that every part of a signature has to escape, and that are not
// among those the gateway cannot let through (docs/adr/0003).
var awkward = []string{"plain", "a b+c=d&e.txt", "dir/ünïcode/日本", "~!$'()*,:@/100%", "trailing/"}

// objects puts, lists and gets.
func (w *world) objects(t *testing.T, bucket *bucketServer, client *s3.Client, g gateway) {
	ctx := t.Context()
	content := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB: chunks, and more than is kept to be sent again
	for _, key := range awkward {
		for kind, body := range map[string]io.Reader{"whole": bytes.NewReader([]byte(content)), "streamed": stream{strings.NewReader(content)}} {
			if kind == "streamed" && g.name == "plaintext" {
				continue // the SDK does not, without TLS
			}
			_, err := client.PutObject(ctx, &s3.PutObjectInput{
				Bucket: aws.String("bucket"), Key: &key, Body: body, ContentLength: aws.Int64(int64(len(content))),
				ContentType: aws.String("text/plain; charset=utf-8"), Metadata: map[string]string{"note": "two  spaces"},
			})
			if err != nil {
				t.Fatalf("put %q %s: %v", key, kind, err)
			}
			if got := bucket.object("bucket/" + key); got != content {
				t.Errorf("%q %s: %d bytes arrived", key, kind, len(got))
			}
			bucket.mu.Lock()
			last := bucket.accepted[len(bucket.accepted)-1]
			bucket.objects["bucket/"+key] = "" // the next one is another
			bucket.mu.Unlock()
			if stated := last.Header.Get("X-Amz-Content-Sha256"); kind == "streamed" && stated != "STREAMING-UNSIGNED-PAYLOAD-TRAILER" {
				t.Errorf("the stream came as %s: this test shows something else than it says", stated)
			}
		}
		if _, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: &key, Body: strings.NewReader(key)}); err != nil {
			t.Fatalf("put %q: %v", key, err)
		}
		got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: &key})
		if err != nil {
			t.Fatalf("get %q: %v", key, err)
		}
		if text, err := io.ReadAll(got.Body); err != nil || string(text) != key {
			t.Errorf("%q holds %q (%v)", key, text, err)
		}
		list, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("bucket"), Prefix: &key, Delimiter: aws.String("/"), StartAfter: aws.String(" +%")})
		if err != nil {
			t.Fatalf("list %q: %v", key, err)
		}
		if len(list.Contents) != 1 || aws.ToString(list.Contents[0].Key) != key {
			t.Errorf("list %q: %+v", key, list.Contents)
		}
	}
	_, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("missing")})
	if answered(err) != http.StatusNotFound {
		t.Errorf("what is not there: %v", err)
	}
}

// strangers are callers that may not, and those that bring a signature in the
// query: the server hears of none.
func (w *world) strangers(t *testing.T, bucket *bucketServer, g gateway) {
	accepted, refused := bucket.counts()
	get := &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("plain")}
	for who, want := range map[string]int{"": 401, "agent-2": 403, "expired:alice": 401, "not a token": 400} {
		token := who
		if want != 400 && who != "" {
			token = w.token(who)
		}
		if _, err := w.s3Client(g.url+"/aws", token).GetObject(t.Context(), get); answered(err) != want {
			t.Errorf("%q is told %v, want %d", who, err, want)
		}
	}
	presigned, err := s3.NewPresignClient(w.s3Client(g.url+"/aws", w.token("agent-1"))).PresignGetObject(t.Context(), get)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: w.trust.Clone(), DisableKeepAlives: true}}
	for name, token := range map[string]string{"Authorization": "Bearer " + w.token("agent-1"), "X-Amz-Security-Token": w.token("agent-1")} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, presigned.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(name, token)
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 400 || !bytes.Contains(body, []byte("parameter-reserved")) {
			t.Errorf("a presigned URL: %d %s", res.StatusCode, body)
		}
	}
	if a, r := bucket.counts(); a != accepted || r != refused {
		t.Errorf("the server heard of %d requests of strangers", a+r-accepted-refused)
	}
}

// forgeries go to the server past the gateway: it would believe a signature that
// is not the vault's, or is of something else, if it believed anything.
func (w *world) forgeries(t *testing.T, bucket *bucketServer, server *httptest.Server) {
	direct := server.Client()
	defer direct.CloseIdleConnections()
	dummy := s3.New(s3.Options{
		Region: s3Region, BaseEndpoint: &server.URL, UsePathStyle: true, HTTPClient: direct, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIADUMMYDUMMYDUMMY0", "the dummy's secret access key", ""),
	})
	if _, err := dummy.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("plain")}); answered(err) != http.StatusForbidden {
		t.Errorf("the dummy's own signature: %v", err)
	}
	bucket.mu.Lock()
	genuine := slices.Clone(bucket.accepted)
	bucket.mu.Unlock()
	last := genuine[len(genuine)-1] // a GET
	for name, change := range map[string]func(*http.Request){
		"":         func(*http.Request) {}, // the control: nothing changed
		"path":     func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/bucket/plain", "" },
		"query":    func(r *http.Request) { r.URL.RawQuery += "&acl" },
		"method":   func(r *http.Request) { r.Method = http.MethodDelete },
		"host":     func(r *http.Request) { r.Host = "localhost" },
		"date":     func(r *http.Request) { r.Header.Set("X-Amz-Date", "20200101T000000Z") },
		"header":   func(r *http.Request) { r.Header.Set("X-Amz-Acl", "public-read") },
		"checksum": func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") },
	} {
		r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), last.Method, server.URL+last.RequestURI, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host, r.Header = last.Host, last.Header.Clone()
		change(r)
		res, err := direct.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if forbidden := res.StatusCode == http.StatusForbidden; forbidden != (name != "") {
			t.Errorf("a request of the gateway's with another %q: %d", name, res.StatusCode)
		}
	}
}
