package vault_test

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// server is what AWS documents of reading a signature: from the bytes of a
// request, with nothing of the signer's.
type server struct {
	id, key, token, region, service string
	twice                           bool // the path is encoded twice: all services but S3
}

var bucket = server{id: exampleID, key: exampleKey, region: "us-east-1", service: "s3"}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func mac(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}

// encode is AWS's UriEncode.
func encode(s string, slash bool) string {
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

// verify reads a request as it is sent, and returns its body as the service
// would store it.
func (s server) verify(wire []byte) (string, error) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wire)))
	if err != nil {
		return "", err
	}
	if n := len(r.Header["Authorization"]); n != 1 {
		return "", fmt.Errorf("%d fields Authorization", n)
	}
	words := strings.Fields(strings.ReplaceAll(r.Header.Get("Authorization"), ",", ""))
	date := r.Header.Get("X-Amz-Date")
	scope := strings.Join([]string{date[:8], s.region, s.service, "aws4_request"}, "/")
	if len(words) != 4 || words[0] != "AWS4-HMAC-SHA256" || words[1] != "Credential="+s.id+"/"+scope || r.Header.Get("X-Amz-Security-Token") != s.token {
		return "", fmt.Errorf("of another: %q %q", words, r.Header["X-Amz-Security-Token"])
	}
	names := strings.Split(strings.TrimPrefix(words[2], "SignedHeaders="), ";")
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Amz-") && !slices.Contains(names, strings.ToLower(name)) {
			return "", fmt.Errorf("%s is not signed", name)
		}
	}
	target, query, _ := strings.Cut(r.RequestURI, "?")
	path, err := url.PathUnescape(target)
	if err != nil {
		return "", err
	}
	if s.twice {
		path = target
	}
	canonical := []string{r.Method, encode(path, false), canonicalQuery(query)}
	for _, name := range names {
		values := r.Header.Values(name)
		if name == "host" {
			values = []string{r.Host}
		}
		for i, v := range values {
			values[i] = strings.Join(strings.Fields(v), " ")
		}
		canonical = append(canonical, name+":"+strings.Join(values, ","))
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", err
	}
	stated := r.Header.Get("X-Amz-Content-Sha256")
	if len(stated) == 64 && stated != sum(body) {
		return "", errors.New("the body is another")
	}
	canonical = append(canonical, "", strings.Join(names, ";"), stated)
	key := []byte("AWS4" + s.key)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	signature := hex.EncodeToString(mac(key, strings.Join([]string{"AWS4-HMAC-SHA256", date, scope, sum([]byte(strings.Join(canonical, "\n")))}, "\n")))
	if words[3] != "Signature="+signature {
		return "", fmt.Errorf("the signature is wrong of\n%s", strings.Join(canonical, "\n"))
	}
	if !strings.HasPrefix(stated, "STREAMING-AWS4-") {
		return string(body), nil
	}
	return chunked(body, key, date+"\n"+scope, signature, strings.HasSuffix(stated, "-TRAILER"))
}

func canonicalQuery(raw string) string {
	var pairs [][]string
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, _ = url.QueryUnescape(name)
		value, _ = url.QueryUnescape(value)
		pairs = append(pairs, []string{encode(name, true), encode(value, true)})
	}
	slices.SortFunc(pairs, slices.Compare)
	var sorted []string
	for _, pair := range pairs {
		sorted = append(sorted, strings.Join(pair, "="))
	}
	return strings.Join(sorted, "&")
}

// chunked takes signed chunks apart.
func chunked(body, key []byte, scope, before string, trailer bool) (string, error) {
	var whole strings.Builder
	sign := func(algorithm string, hashes ...string) string {
		before = hex.EncodeToString(mac(key, strings.Join(append([]string{algorithm, scope, before}, hashes...), "\n")))
		return before
	}
	for {
		head, rest, _ := strings.Cut(string(body), "\r\n")
		var size int
		var signature string
		if _, err := fmt.Sscanf(head, "%x;chunk-signature=%s", &size, &signature); err != nil {
			return "", err
		}
		if size > 0 && len(rest) < size+2 {
			return "", errors.New("the body ends early")
		}
		if signature != sign("AWS4-HMAC-SHA256-PAYLOAD", emptySum, sum([]byte(rest[:size]))) {
			return "", errors.New("a chunk's signature is wrong")
		}
		if size > 0 {
			whole.WriteString(rest[:size])
			body = []byte(rest[size+2:])
			continue
		}
		if trailer {
			fields, signature, _ := strings.Cut(strings.ReplaceAll(rest, "\r\n", "\n"), "x-amz-trailer-signature:")
			if strings.TrimSpace(signature) != sign("AWS4-HMAC-SHA256-TRAILER", sum([]byte(strings.TrimSpace(fields)+"\n"))) {
				return "", errors.New("the trailer's signature is wrong")
			}
		} else if rest != "\r\n" {
			return "", fmt.Errorf("after the end: %q", rest)
		}
		return whole.String(), nil
	}
}
