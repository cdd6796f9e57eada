package clients_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// bucketServer keeps objects as S3 does, and believes who signed as AWS documents
// it (the SigV4 pages of the IAM user guide and of the S3 API), with nothing of
// any SDK's.
type bucketServer struct {
	region string

	mu       sync.Mutex
	keys     map[string]string // secret access keys by their id
	objects  map[string]string // by bucket/key
	refused  int
	accepted []*http.Request // without bodies
}

func (s *bucketServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		body, err = s.believe(r, body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.refused++
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>SignatureDoesNotMatch</Code><Message>%s</Message></Error>`, err)
		return
	}
	s.accepted = append(s.accepted, r)
	name := strings.TrimPrefix(r.URL.Path, "/")
	switch {
	case r.Method == http.MethodPut:
		s.objects[name] = string(body)
	case r.URL.Query().Get("list-type") == "2":
		s.list(w, name, r.URL.Query().Get("prefix"))
	default:
		object, ok := s.objects[name]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>`)
			return
		}
		w.Write([]byte(object))
	}
}

func (s *bucketServer) list(w http.ResponseWriter, bucket, prefix string) {
	type object struct {
		Key  string
		Size int
	}
	result := struct {
		XMLName  xml.Name `xml:"ListBucketResult"`
		Name     string
		Prefix   string
		Contents []object
	}{Name: bucket, Prefix: prefix}
	for name, content := range s.objects {
		if key, ok := strings.CutPrefix(name, bucket+"/"); ok && strings.HasPrefix(key, prefix) {
			result.Contents = append(result.Contents, object{key, len(content)})
		}
	}
	xml.NewEncoder(w).Encode(result)
}

func (s *bucketServer) object(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[name]
}

// counts are how many requests were believed, and how many not.
func (s *bucketServer) counts() (accepted, refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.accepted), s.refused
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func keyed(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}

// uriEncode is the UriEncode of AWS's documentation.
func uriEncode(s string, slash bool) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 || c == '/' && !slash {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// believe checks the signature of a request, and returns the object in its body.
func (s *bucketServer) believe(r *http.Request, body []byte) ([]byte, error) {
	for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Content-Sha256"} {
		if len(r.Header[name]) != 1 {
			return nil, fmt.Errorf("want one %s", name)
		}
	}
	if r.Header["X-Amz-Security-Token"] != nil {
		return nil, errors.New("these keys have no session")
	}
	date, stated := r.Header.Get("X-Amz-Date"), r.Header.Get("X-Amz-Content-Sha256")
	at, err := time.Parse("20060102T150405Z", date)
	if err != nil || time.Since(at).Abs() > 15*time.Minute {
		return nil, errors.New("RequestTimeTooSkewed")
	}
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	parts := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		parts[name] = value
	}
	id, scope, _ := strings.Cut(parts["Credential"], "/")
	s.mu.Lock()
	secret := s.keys[id]
	s.mu.Unlock()
	if !ok || secret == "" || scope != date[:8]+"/"+s.region+"/s3/aws4_request" {
		return nil, errors.New("of keys that nobody has")
	}
	canonical, err := canonicalRequest(r, strings.Split(parts["SignedHeaders"], ";"), stated)
	if err != nil {
		return nil, err
	}
	key := []byte("AWS4" + secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = keyed(key, part)
	}
	want := hex.EncodeToString(keyed(key, strings.Join([]string{"AWS4-HMAC-SHA256", date, scope, digest([]byte(canonical))}, "\n")))
	if parts["Signature"] != want {
		return nil, fmt.Errorf("the signature is not of\n%s", canonical)
	}
	switch {
	case len(stated) == 64 && stated != digest(body):
		return nil, errors.New("XAmzContentSHA256Mismatch")
	case stated == "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
		return dechunk(body)
	case len(stated) != 64 && stated != "UNSIGNED-PAYLOAD":
		return nil, errors.New("a statement that this server does not know")
	}
	return body, nil
}

// canonicalRequest is what was signed.
func canonicalRequest(r *http.Request, signed []string, stated string) (string, error) {
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") && !slices.Contains(signed, name) {
			return "", fmt.Errorf("%s is not signed", name)
		}
	}
	if !slices.Contains(signed, "host") {
		return "", errors.New("the host is not signed")
	}
	sent, query, _ := strings.Cut(r.RequestURI, "?")
	path, err := url.PathUnescape(sent)
	if err != nil {
		return "", err
	}
	var pairs [][]string
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		for _, part := range []*string{&name, &value} {
			if *part, err = url.QueryUnescape(*part); err != nil {
				return "", err
			}
		}
		pairs = append(pairs, []string{uriEncode(name, true), uriEncode(value, true)})
	}
	slices.SortFunc(pairs, slices.Compare)
	var sorted []string
	for _, pair := range pairs {
		sorted = append(sorted, strings.Join(pair, "="))
	}
	lines := []string{r.Method, uriEncode(path, false), strings.Join(sorted, "&")}
	for _, name := range signed {
		values := slices.Clone(r.Header.Values(name))
		switch name {
		case "host":
			values = []string{r.Host}
		case "content-length":
			values = []string{fmt.Sprint(r.ContentLength)}
		}
		for i, v := range values {
			values[i] = strings.Join(strings.Fields(v), " ")
		}
		lines = append(lines, name+":"+strings.Join(values, ","))
	}
	return strings.Join(append(lines, "", strings.Join(signed, ";"), stated), "\n"), nil
}

// dechunk is an object in aws-chunked, with its checksum at the end.
func dechunk(body []byte) ([]byte, error) {
	var object []byte
	for {
		head, rest, ok := bytes.Cut(body, []byte("\r\n"))
		var size int
		if _, err := fmt.Sscanf(string(head), "%x", &size); err != nil || !ok {
			return nil, errors.New("not in chunks")
		}
		if size == 0 {
			sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(object))
			if want := "x-amz-checksum-crc32:" + base64.StdEncoding.EncodeToString(sum); strings.TrimSpace(string(rest)) != want {
				return nil, fmt.Errorf("the trailer is %q, want %q", rest, want)
			}
			return object, nil
		}
		if len(rest) < size+2 {
			return nil, errors.New("the body ends early")
		}
		object, body = append(object, rest[:size]...), rest[size+2:]
	}
}
