package vault_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

// The example keys of AWS's documentation.
const (
	exampleID  = "AKIAIOSFODNN7EXAMPLE"
	exampleKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	exampleSet = `{"access_key_id": "` + exampleID + `", "secret_access_key": "` + exampleKey + `"}`
	emptySum   = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

var s3 = vault.Injection{SigV4: vault.SigV4{Region: "us-east-1", Service: "s3"}}

// signs is a lease of a set of keys for a bucket.
func signs(t *testing.T, set string, inject vault.Injection) *vault.Lease {
	t.Helper()
	a := newAccount()
	a.put(stripeID, payments, "STRIPE_API_KEY", set)
	s := setup(a)
	s.Bindings = []vault.Binding{bind(stripeRef)}
	s.Bindings[0].Inject = inject
	s.Bindings[0].Destination.Host = "examplebucket.s3.amazonaws.com"
	return lease(t, open(t, s), stripeRef)
}

func object(t *testing.T, method, target, body string, fields ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://examplebucket.s3.amazonaws.com"+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

// sent is a request as it goes out once it is signed.
func sent(t *testing.T, l *vault.Lease, r *http.Request) ([]byte, error) {
	t.Helper()
	query := r.URL.RawQuery
	if err := l.Authorize(r); err != nil {
		return nil, err
	}
	if r.URL.RawQuery != query {
		t.Errorf("the query became %q", r.URL.RawQuery)
	}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	var b bytes.Buffer
	err := r.Write(&b)
	return b.Bytes(), err
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
func TestSignaturesAreThoseThatAWSDocuments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)))
		l := signs(t, exampleSet, s3)
		for target, want := range map[string]string{
			"/?lifecycle":            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
			"/?max-keys=2&prefix=J":  "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
			"/?prefix=J&max-keys=2&": "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
		} {
			r := object(t, "GET", target, "", "X-Request-Id", "1", "Date", "Fri, 24 May 2013 00:00:00 GMT")
			wire, err := sent(t, l, r)
			if err != nil {
				t.Fatal(err)
			}
			wantHeader := "AWS4-HMAC-SHA256 Credential=" + exampleID + "/20130524/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=" + want
			if got := r.Header.Get("Authorization"); got != wantHeader {
				t.Errorf("%s: %s, want %s", target, got, wantHeader)
			}
			if _, err := bucket.verify(wire); err != nil {
				t.Errorf("the server of these tests takes AWS's own signature for wrong: %v", err)
			}
		}
	})
}

// What a caller sent to be signed is signed as it arrives, whatever is in it,
// and nothing of the caller's own signature is left.
func TestRequestsAreSignedAsTheyAreSent(t *testing.T) {
	temporary := bucket
	temporary.token = "FwoGZXIvYXdzEXAMPLE=="
	other := server{id: exampleID, key: exampleKey, region: "us-east-1", service: "dynamodb", twice: true}
	dummy := []string{
		"Authorization", "AWS4-HMAC-SHA256 Credential=dummy/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00",
		"X-Amz-Date", "20200101T000000Z", "X-Amz-Security-Token", "a.callers.token", "X-Amz-S3session-Token", "mine", "X_amz_acl", "public-read",
	}
	for _, test := range []struct {
		server               server
		method, target, body string
		fields               []string
		stated               string // X-Amz-Content-Sha256 as sent
	}{
		{server: bucket, target: "/", stated: emptySum},
		{server: bucket, target: "/a%20b/%C3%A4+c=d,e:f@g!$&'()*~%25%3F", stated: emptySum},
		{server: bucket, target: "/a%2Bb%3Dc", stated: emptySum},
		{server: bucket, target: "/?list-type=2&prefix=a%20b%2Bc%2F%C3%A4&delimiter=%2F&x=~*'()", stated: emptySum},
		{server: bucket, target: "/?b=2&b=1&a&&c=&A=%7E&a-b=1&a.b=2&a%2Fb", stated: emptySum},
		{server: bucket, target: "/?prefix=a+b", stated: emptySum},
		{server: temporary, target: "/x", stated: emptySum},
		{server: bucket, method: "PUT", target: "/x", body: "hello", stated: "UNSIGNED-PAYLOAD"},
		{server: bucket, method: "PUT", target: "/x", body: "hello", fields: []string{"X-Amz-Content-Sha256", sum([]byte("hello"))}, stated: sum([]byte("hello"))},
		{server: bucket, method: "PUT", target: "/x", body: "hello", fields: []string{"X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"}, stated: "UNSIGNED-PAYLOAD"},
		{server: bucket, method: "PUT", target: "/x", body: "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", fields: []string{
			"X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Trailer", "x-amz-checksum-crc32", "Content-Encoding", "aws-chunked",
		}, stated: "STREAMING-UNSIGNED-PAYLOAD-TRAILER"},
		{server: bucket, method: "PUT", target: "/x", fields: []string{"X-Amz-Meta-A", "  two   spaces ", "X-Amz-Meta-A", "again", "Content-Type", "text/plain; charset=utf-8", "X-Amz-Meta-B", ""}, stated: emptySum},
		{server: other, method: "POST", target: "/a%20b/arn%3Aaws:x?a=b", body: `{"TableName": "x"}`, stated: sum([]byte(`{"TableName": "x"}`))},
		{server: other, method: "POST", target: "/", stated: emptySum},
	} {
		inject := vault.Injection{SigV4: vault.SigV4{Region: test.server.region, Service: test.server.service}}
		set := exampleSet
		if test.server.token != "" {
			set = strings.Replace(exampleSet, "{", `{"session_token": "`+test.server.token+`", `, 1)
		}
		r := object(t, test.method, test.target, test.body, append(slices.Clone(dummy), test.fields...)...)
		wire, err := sent(t, signs(t, set, inject), r)
		if err != nil {
			t.Errorf("%s: %v", test.target, err)
			continue
		}
		if body, err := test.server.verify(wire); err != nil || body != test.body {
			t.Errorf("%s %s: %v\n%s", test.method, test.target, err, wire)
		}
		if got := r.Header.Values("X-Amz-Content-Sha256"); !slices.Equal(got, []string{test.stated}) {
			t.Errorf("%s: the body is stated as %q, want %q", test.target, got, test.stated)
		}
		for _, mine := range []string{"dummy", "20200101", "callers", "mine", "public-read"} {
			if bytes.Contains(wire, []byte(mine)) {
				t.Errorf("%s: %q of the caller's is sent:\n%s", test.target, mine, wire)
			}
		}
		tampered := bytes.Replace(wire, []byte("/"), []byte("/a"), 1)
		if _, err := test.server.verify(tampered); err == nil {
			t.Errorf("%s: another target is good too", test.target)
		}
	}
}

// dummyChunks is a body in chunks, signed by nobody.
func dummyChunks(trailer string, chunks ...string) string {
	none := strings.Repeat("0f", 32)
	var b strings.Builder
	for _, c := range append(chunks, "") {
		fmt.Fprintf(&b, "%x;chunk-signature=%s\r\n", len(c), none)
		if c != "" {
			b.WriteString(c + "\r\n")
		}
	}
	return b.String() + strings.ReplaceAll(trailer, "SIGNATURE", none)
}

func TestChunksAreSignedAnew(t *testing.T) {
	l := signs(t, exampleSet, s3)
	large := strings.Repeat("0123456789abcdef", 64<<10)
	for name, test := range map[string]struct{ stated, body, want string }{
		"two":           {"PAYLOAD", dummyChunks("\r\n", strings.Repeat("a", 64<<10), "b"), strings.Repeat("a", 64<<10) + "b"},
		"none":          {"PAYLOAD", dummyChunks("\r\n"), ""},
		"large":         {"PAYLOAD", dummyChunks("\r\n", large, large), large + large},
		"trailer":       {"PAYLOAD-TRAILER", dummyChunks("x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:SIGNATURE\r\n\r\n", "a"), "a"},
		"minio's":       {"PAYLOAD-TRAILER", dummyChunks("x-amz-checksum-crc32c:sOO8/Q==\n\r\nx-amz-trailer-signature:SIGNATURE\r\n\r\n", "a"), "a"},
		"empty trailer": {"PAYLOAD-TRAILER", dummyChunks("x-amz-checksum-crc32c:AAAAAA==\r\nx-amz-trailer-signature:SIGNATURE\r\n\r\n"), ""},
	} {
		for _, slowly := range []bool{false, true} {
			r := object(t, "PUT", "/x", test.body, "X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-"+test.stated, "Content-Encoding", "aws-chunked")
			if slowly {
				r.Body = io.NopCloser(iotest.HalfReader(r.Body))
			}
			wire, err := sent(t, l, r)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got, err := bucket.verify(wire); err != nil || got != test.want {
				t.Errorf("%s: %v, %d bytes", name, err, len(got))
			}
			if bytes.Contains(wire, []byte(strings.Repeat("0f", 32))) {
				t.Errorf("%s: a signature of the caller's is left", name)
			}
		}
	}
}

// What cannot be signed is refused: before it is sent, or where it is found.
func TestWhatCannotBeSigned(t *testing.T) {
	const chunks, trailer = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	none := strings.Repeat("0f", 32)
	l := signs(t, exampleSet, s3)
	for _, test := range []struct {
		body   string
		stated []string
		want   vault.LeaseReason
	}{
		{"x", []string{"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"}, vault.Unsignable},
		{"x", []string{"STREAMING-AWS4-HMAC-SHA256-EVENTS"}, vault.Unsignable},
		{"x", []string{strings.ToUpper(sum(nil))}, vault.Unsignable},
		{"x", []string{""}, vault.Unsignable},
		{"x", []string{emptySum, sum([]byte("x"))}, vault.Unsignable},
		{"", []string{chunks}, vault.Unsignable},
		{"x", []string{chunks}, vault.Unsignable},
		{dummyChunks("\r\n", "abc")[:100], []string{chunks}, vault.Unsignable},
		{dummyChunks("", "abc"), []string{chunks}, vault.Unsignable},
		{dummyChunks("\r\nmore", "abc"), []string{chunks}, vault.Unsignable},
		{strings.Replace(dummyChunks("\r\n", "abc"), "abc\r\n", "abcd\r\n", 1), []string{chunks}, vault.Unsignable},
		{strings.Replace(dummyChunks("\r\n", "abc"), "3;", "-3;", 1), []string{chunks}, vault.Unsignable},
		{strings.Replace(dummyChunks("\r\n", "abc"), "3;", "3;x=y;", 1), []string{chunks}, vault.Unsignable},
		{strings.Replace(dummyChunks("\r\n", "abc"), none, none[2:], 1), []string{chunks}, vault.Unsignable},
		{"1000001;chunk-signature=" + none + "\r\n", []string{chunks}, vault.TooLarge},
		{"ffffffffffffffffff;chunk-signature=" + none + "\r\n", []string{chunks}, vault.Unsignable},
		{dummyChunks("\r\n", "a"), []string{trailer}, vault.Unsignable},
		{dummyChunks("x-amz-checksum-crc32c:sOO8/Q==\r\n\r\n", "a"), []string{trailer}, vault.Unsignable},
		{dummyChunks("no field\r\nx-amz-trailer-signature:SIGNATURE\r\n\r\n", "a"), []string{trailer}, vault.Unsignable},
		{dummyChunks("a:b\r\nx-amz-trailer-signature:SIGNATURE\r\nc:d\r\n", "a"), []string{trailer}, vault.Unsignable},
		{dummyChunks("a:"+strings.Repeat("b", 9<<10)+"\r\nx-amz-trailer-signature:SIGNATURE\r\n", "a"), []string{trailer}, vault.Unsignable},
	} {
		r := object(t, "PUT", "/x", test.body)
		r.Header["X-Amz-Content-Sha256"] = test.stated
		if r.Body != nil {
			r.ContentLength = -1
		}
		_, err := sent(t, l, r)
		if e, ok := errors.AsType[*vault.LeaseError](err); !ok || e.Reason != test.want {
			t.Errorf("%q %.80q: %v, want %s", test.stated, test.body, err, test.want)
		}
	}
	other := signs(t, exampleSet, vault.Injection{SigV4: vault.SigV4{Region: "eu-central-1", Service: "sqs"}})
	for size, want := range map[int]vault.LeaseReason{1 << 20: "", 1<<20 + 1: vault.TooLarge} {
		_, err := sent(t, other, object(t, "POST", "/", strings.Repeat("x", size)))
		if e, ok := errors.AsType[*vault.LeaseError](err); ok != (want != "") || ok && e.Reason != want {
			t.Errorf("%d bytes of nobody's statement: %v, want %q", size, err, want)
		}
	}
	broken := errors.New("the caller went away")
	r := object(t, "POST", "/", "x")
	r.Body = io.NopCloser(iotest.ErrReader(broken))
	if _, err := sent(t, other, r); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// A URL that is signed by itself has the caller's credential, or somebody's.
func TestPresignedURLsAreRefused(t *testing.T) {
	l := signs(t, exampleSet, s3)
	for _, query := range []string{
		"X-Amz-Signature=00", "x-amz-signature=00", "a=b&X-Amz-Credential=x", "X%2dAmz-Credential", "X%2DAmz%2DSecurity%2DToken=x",
		"X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Date=1&a", "X-Amz-Expires=1", "X-Amz-SignedHeaders=host", "AWSAccessKeyId=AKIA", "a;X-Amz-Signature=1",
		"X-Amz-S3session-Token=x", "%58-Amz-Signature=1", "+X-Amz-Signature=1", "X-Amz-Signature[]=1",
	} {
		if !s3.Reserves(query) {
			t.Errorf("%s is not reserved", query)
		}
		_, err := sent(t, l, object(t, "GET", "/?"+query, ""))
		if err == nil || reason(t, err) != vault.Reserved {
			t.Errorf("%s: %v", query, err)
		}
	}
	for _, query := range []string{"", "x-id=GetObject", "signature=1", "x-amz-meta-a=b", "prefix=X-Amz-Signature", "X-Amz-Signatures=1", "expires=1"} {
		if _, err := sent(t, l, object(t, "GET", "/?"+query, "")); err != nil || s3.Reserves(query) {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// Keys that a signature cannot be made with close their binding, and nothing of
// them is told.
func TestWrongKeysAreNoCredential(t *testing.T) {
	for _, set := range []string{
		"CANARY", `{"access_key_id": "CANARY"}`, `{"secret_access_key": "CANARY"}`, `{"access_key_id": "a", "secret_access_key": ""}`,
		`{"access_key_id": "a/CANARY", "secret_access_key": "x"}`, `{"access_key_id": "a", "secret_access_key": 1}`,
		`{"access_key_id": "a", "secret_access_key": "CANARY\n"}`, `{"access_key_id": "a", "secret_access_key": "x", "session_token": ""}`,
		`{"access_key_id": "a", "secret_access_key": "x", "session_token": "CANARY\r\nX: y"}`, `{"access_key_id": "a", "access_key_id": "b", "secret_access_key": "x"}`,
	} {
		if _, err := worn(t, set, s3); err == nil || reason(t, err) != vault.NoCredential {
			t.Errorf("%s: %v", set, err)
		}
	}
}
