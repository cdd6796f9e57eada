package clients_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

// git is a client in a directory of its own that sends the caller's token with
// every request, as its documentation says to.
func (w *world) git(t *testing.T, token string) *command {
	t.Helper()
	c := w.command(t, "git", "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_SSL_CAINFO="+w.ca,
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
		"GIT_TRACE_CURL=1", "GIT_TRACE_CURL_NO_DATA=1")
	c.run("config", "--global", "http.extraHeader", "Authorization: Bearer "+token)
	c.run("config", "--global", "init.defaultBranch", "main")
	return c
}

// repository serves what is below root with git's own CGI program. That program
// takes pushes from a named user only, and net/http/cgi no chunked bodies.
func repository(t *testing.T, root string) http.Handler {
	handler := &cgi.Handler{
		Path: bench.Need(t, "git"), Args: []string{"http-backend"}, Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=svc"},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
		handler.ServeHTTP(w, r)
	})
}

// A repository whose server wants a user and a password, or a token, is cloned
// and pushed to by callers who know neither.
func TestGit(t *testing.T) {
	t.Parallel()
	for name, inject := range map[string]string{"basic": "{basic: {user: svc}}", "bearer": "bearer"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t)
			root := t.TempDir()
			want := "Bearer " + w.secret("GIT_KEY")
			if name == "basic" {
				r := &http.Request{Header: http.Header{}}
				r.SetBasicAuth("svc", strings.TrimPrefix(want, "Bearer "))
				want = r.Header.Get("Authorization")
			}
			u := w.upstreamTLS("Authorization", want, repository(t, root))
			route := fmt.Sprintf(`{name: git, match: [/git/], strip: /git, upstream: "%s", secret: prod/team-dev/GIT_KEY, inject: %s, upstream_tls: {ca: "%s"}}`, u.URL, inject, u.ca)
			alice := w.git(t, w.token("alice"))
			for _, g := range w.serve(route) {
				alice.run("init", "--quiet", "--bare", filepath.Join(root, g.name+".git"))
				alice.cloneAndPush(t, g, g.url+"/git/"+g.name+".git")
				w.gitIsRefused(t, g.url+"/git/"+g.name+".git")
			}
			alice.left()
		})
	}
}

// pushes are in ways that git sends a pack: it announces the length of what fits
// into http.postBuffer, 1 MiB, and sends the rest chunked. Chunked it uses
// HTTP/1.1 here, because libcurl until 8.2 may never send the end of an upload
// over HTTP/2 that had to wait for the server: curl's pull request 11342.
var pushes = []struct {
	setting string
	data    []byte
}{
	{"http.postBuffer=1048576", document[:100]},
	{"http.postBuffer=8388608", document[100 : 2<<20]},
	{"http.version=HTTP/1.1", document[1<<20:]},
}

// cloneAndPush takes a repository from empty to a few commits, and reads
// them back.
func (c *command) cloneAndPush(t *testing.T, g gateway, url string) {
	t.Helper()
	work := filepath.Join(c.dir, g.name)
	c.run("clone", "--quiet", url, work)
	for i, push := range pushes {
		if err := os.WriteFile(filepath.Join(work, fmt.Sprint("file", i)), push.data, 0o600); err != nil {
			t.Fatal(err)
		}
		c.run("-C", work, "add", ".")
		c.run("-C", work, "commit", "--quiet", "-m", fmt.Sprint("file ", i))
		c.run("-C", work, "-c", push.setting, "push", "--quiet", "origin", "main")
	}
	again := work + "-again"
	c.run("clone", "--quiet", url, again)
	for i, push := range pushes {
		if data, err := os.ReadFile(filepath.Join(again, fmt.Sprint("file", i))); err != nil || !bytes.Equal(data, push.data) {
			t.Errorf("%s: cloned back %d bytes, %v", g.name, len(data), err)
		}
	}
	c.run("-C", work, "tag", "v1")
	c.run("-C", work, "push", "--quiet", "origin", "v1", ":refs/heads/none")
	c.run("-C", again, "fetch", "--quiet", "--tags", "--depth=1")
	if out, _ := c.run("-C", again, "tag"); out != "v1\n" {
		t.Errorf("%s: fetched the tags %q", g.name, out)
	}
	out, _ := c.run("ls-remote", url)
	if head, _ := c.run("-C", work, "rev-parse", "HEAD"); !strings.Contains(out, strings.TrimSpace(head)+"\trefs/heads/main") {
		t.Errorf("%s: the repository has\n%s", g.name, out)
	}
}

// gitIsRefused says what git says of a refusal.
func (w *world) gitIsRefused(t *testing.T, url string) {
	t.Helper()
	for who, want := range map[string]string{"carol": "The requested URL returned error: 403", "expired:alice": "could not read Username"} {
		c := w.git(t, w.token(who))
		_, stderr, err := c.try("clone", url, filepath.Join(c.dir, "none"))
		if err == nil || !strings.Contains(stderr, want) {
			t.Errorf("%s: %v, want %q:\n%s", who, err, want, stderr)
		}
	}
}
