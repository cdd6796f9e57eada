package clients_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// document is what the service behind curl serves: bytes of no pattern.
var document = func() []byte {
	data := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{1}).Read(data)
	return data
}()

// store takes uploads, tells what came, and serves the document.
func store(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/document" {
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(w, r, "document", time.Time{}, bytes.NewReader(document))
		return
	}
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	json.NewEncoder(w).Encode(stored{r.Method, n, fmt.Sprintf("%x", sum.Sum(nil)), r.ContentLength, r.Header.Get("Expect")})
}

// stored is what arrived.
type stored struct {
	Method string
	Bytes  int64
	Sum    string
	Length int64 // as announced; -1 if it was not
	Expect string
}

// partsRoute is for those who cannot do without ranges: a credential could be asked
// for in parts, so upstreams that are watched for it are not offered them.
const partsRoute = `{name: parts, match: [/parts/], strip: /parts, upstream: "%s", secret: prod/team-dev/STORE_KEY, inject: {header: X-Api-Key}, unguarded: true}`

const curlRoute = `{name: store, match: [/store/], strip: /store, upstream: "%s", secret: prod/team-dev/STORE_KEY, inject: {header: X-Api-Key}}`

// curls are curl's protocols with each listener. HTTP/2 needs TLS (ALPN).
var curls = []struct{ gateway, flag, version string }{
	{"plaintext", "--http1.1", "1.1"}, {"tls", "--http1.1", "1.1"}, {"tls", "--http2", "2"},
}

// curl runs curl with a caller's token, and returns what it got and the wanted
// --write-out.
func (c *command) curl(token, format string, args ...string) (body, written, trace string) {
	c.t.Helper()
	args = append([]string{
		"-sS", "-v", "--cacert", c.w.ca, "-H", "Authorization: Bearer " + token, "-o", filepath.Join(c.dir, "out"), "-w", format,
	}, args...)
	written, trace = c.run(args...)
	data, err := os.ReadFile(filepath.Join(c.dir, "out"))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(data), written, trace
}

func TestCurl(t *testing.T) {
	t.Parallel()
	w := open(t)
	u := w.upstream("X-Api-Key", w.secret("STORE_KEY"), http.HandlerFunc(store))
	gateways := w.serve(fmt.Sprintf(curlRoute, u.URL), fmt.Sprintf(partsRoute, u.URL))
	for _, way := range curls {
		t.Run(way.gateway+way.flag, func(t *testing.T) {
			g := gateways[slices.IndexFunc(gateways, func(g gateway) bool { return g.name == way.gateway })]
			c := w.command(t, "curl")
			c.uploads(w.token("alice"), g.url, way.flag, way.version)
			c.ranges(w.token("alice"), g.url, way.flag)
			c.left()
		})
	}
}

// uploads sends the same file in the ways curl has.
func (c *command) uploads(token, url, flag, version string) {
	c.t.Helper()
	file := filepath.Join(c.dir, "upload")
	if err := os.WriteFile(file, document, 0o600); err != nil {
		c.t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(document))
	for name, upload := range map[string]struct {
		method string
		length int64
		args   []string
	}{
		"--data-binary":              {"POST", int64(len(document)), []string{"--data-binary", "@" + file}},
		"-T":                         {"PUT", int64(len(document)), []string{"-T", file}},
		"-T, of no announced length": {"PUT", -1, []string{"-T", file, "-H", "Content-Length:", "-H", "Transfer-Encoding: chunked"}},
		"Expect":                     {"POST", int64(len(document)), []string{"--data-binary", "@" + file, "-H", "Expect: 100-continue", "--expect100-timeout", "20"}},
		"no Expect":                  {"POST", int64(len(document)), []string{"--data-binary", "@" + file, "-H", "Expect:"}},
	} {
		if version == "2" && upload.length < 0 { // in HTTP/2 every length may be left out
			upload.args = []string{"-T", file, "-H", "Content-Length:"}
		}
		body, written, trace := c.curl(token, "%{http_version} %{http_code} %{time_total}", append(upload.args, flag, url+"/store/file")...)
		var got stored
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			c.t.Errorf("%s: %s: %q", name, written, body)
			continue
		}
		if want := (stored{upload.method, int64(len(document)), sum, upload.length, ""}); got != want {
			c.t.Errorf("%s: the upstream received %+v, want %+v", name, got, want)
		}
		if !strings.HasPrefix(written, version+" 200 ") {
			c.t.Errorf("%s: %s, want %s 200", name, written, version)
		}
		if name == "Expect" && version == "1.1" && !strings.Contains(trace, "< HTTP/1.1 100 Continue") {
			c.t.Errorf("%s: curl was not told to continue:\n%s", name, trace)
		}
	}
}

// ranges gets parts of the document, and goes on with a download that broke off.
func (c *command) ranges(token, url, flag string) {
	c.t.Helper()
	for spec, want := range map[string]string{
		"100-199": string(document[100:200]), "-50": string(document[len(document)-50:]), "3145000-": string(document[3145000:]),
	} {
		body, written, _ := c.curl(token, "%{http_code}", "-r", spec, flag, url+"/parts/document")
		if written != "206" || body != want {
			c.t.Errorf("range %s: %s and %d bytes, want %d", spec, written, len(body), len(want))
		}
	}
	if _, written, trace := c.curl(token, "%{http_code}", "-r", "9999999-", flag, url+"/parts/document"); written != "416" || !strings.Contains(strings.ToLower(trace), "content-range: bytes */"+strconv.Itoa(len(document))) {
		c.t.Errorf("a range beyond the end: %s\n%s", written, trace)
	}
	if body, written, _ := c.curl(token, "%{http_code}", "-r", "0-9", "-H", `If-Range: "another"`, flag, url+"/parts/document"); written != "200" || len(body) != len(document) {
		c.t.Errorf("a range of another version: %s and %d bytes", written, len(body))
	}
	if body, written, _ := c.curl(token, "%{http_code}", "-r", "0-9", flag, url+"/store/document"); written != "200" || len(body) != len(document) {
		c.t.Errorf("a range where the guard is on: %s and %d bytes", written, len(body))
	}
	part := filepath.Join(c.dir, "part")
	if err := os.WriteFile(part, document[:1<<20], 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.run("-sS", "--cacert", c.w.ca, "-H", "Authorization: Bearer "+token, "-C", "-", "-o", part, flag, url+"/parts/document")
	if data, err := os.ReadFile(part); err != nil || !bytes.Equal(data, document) {
		c.t.Errorf("a download that was taken up again has %d bytes, %v", len(data), err)
	}
	if _, written, _ := c.curl(token, "%{http_code} %header{content-length}", "-I", flag, url+"/parts/document"); written != fmt.Sprintf("200 %d", len(document)) {
		c.t.Errorf("HEAD: %s", written)
	}
}

// Who is refused sends no body that waits for 100-continue, and hears why.
func TestCurlIsRefused(t *testing.T) {
	t.Parallel()
	w := open(t)
	u := w.upstream("X-Api-Key", w.secret("STORE_KEY"), http.HandlerFunc(store))
	gateways := w.serve(fmt.Sprintf(curlRoute, u.URL), `{name: small, match: [/small/], upstream: "`+u.URL+`", secret: prod/team-dev/STORE_KEY, inject: {header: X-Api-Key}, max_body: 1MiB}`)
	c := w.command(t, "curl")
	c.curl(w.token("alice"), "", gateways[0].url+"/store/file") // which the upstream receives
	file := filepath.Join(c.dir, "upload")
	if err := os.WriteFile(file, document, 0o600); err != nil {
		t.Fatal(err)
	}
	before := u.uses()
	for _, refused := range []struct{ who, path, want string }{
		{"carol", "/store/file", "403 0"}, {"expired:alice", "/store/file", "401 0"}, {"alice", "/small/file", "413 0"},
	} {
		for _, g := range gateways {
			body, written, _ := c.curl(w.token(refused.who), "%{http_code} %{size_upload}",
				"--http1.1", "-T", file, "-H", "Expect: 100-continue", "--expect100-timeout", "20", g.url+refused.path)
			if written != refused.want || !strings.Contains(body, `"code":`) {
				t.Errorf("%s, %s: %s, want %s: %s", g.name, refused.who, written, refused.want, body)
			}
		}
	}
	// curl offers an upgrade to h2c with --http2 in plaintext, which is no
	// websocket.
	if body, written, _ := c.curl(w.token("alice"), "%{http_code}", "--http2", gateways[0].url+"/store/document"); written != "400" || !strings.Contains(body, "upgrade-unsupported") {
		t.Errorf("h2c: %s: %s", written, body)
	}
	if got := u.uses(); got != before {
		t.Errorf("the upstream received %d requests that were refused", got-before)
	}
	c.left()
}
