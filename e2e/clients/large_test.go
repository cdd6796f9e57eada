package clients_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"testing"
)

// large is what passes through the gateway each way, and growth the most memory
// that it may take for that.
const (
	large  = 1 << 30
	growth = 64 << 20
)

// pattern repeats at no power of two, so that bytes out of place are noticed.
var pattern = func() []byte {
	data := make([]byte, 1<<20+7)
	rand.NewChaCha8([32]byte{2}).Read(data)
	return data
}()

// flood is large bytes that nobody stores.
type flood struct{ at int64 }

func (f *flood) Read(p []byte) (int, error) {
	if f.at == large {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), large-f.at)], pattern[f.at%int64(len(pattern)):])
	f.at += int64(n)
	return n, nil
}

// drain takes in a flood, and checks every byte.
type drain struct{ at int64 }

var errAltered = errors.New("the bytes were altered on the way")

func (d *drain) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		want := pattern[d.at%int64(len(pattern)):]
		m := min(len(want), len(p)-n)
		if !bytes.Equal(p[n:n+m], want[:m]) {
			return n, fmt.Errorf("%w: at %d", errAltered, d.at)
		}
		n += m
		d.at += int64(m)
	}
	return len(p), nil
}

// through copies a flood, a buffer at a time.
func through(w io.Writer, r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, 64<<10))
}

// A gigabyte goes up and comes down, and the gateway's memory stays what it was.
func TestGigabytes(t *testing.T) { // not parallel: it takes the whole machine
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells the memory of another process")
	}
	w := open(t)
	u := w.upstreamTLS("Authorization", "Bearer "+w.secret("BULK_KEY"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			through(w, &flood{})
			return
		}
		d := &drain{}
		_, err := through(d, r.Body)
		fmt.Fprint(w, d.at, err)
	}))
	token := w.token("alice")
	for _, g := range w.serve(fmt.Sprintf(`{name: bulk, match: [/bulk], upstream: "%s", secret: prod/team-dev/BULK_KEY, inject: bearer, max_body: 1GiB, upstream_tls: {ca: "%s"}}`, u.URL, u.ca)) {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: w.trust.Clone(), ForceAttemptHTTP2: true}}
		t.Cleanup(client.CloseIdleConnections)
		for _, length := range []int64{large, -1} {
			t.Run(fmt.Sprintf("%s/up %d", g.name, length), func(t *testing.T) {
				measure(t, g, func() error {
					req, _ := http.NewRequestWithContext(t.Context(), "PUT", g.url+"/bulk", io.NopCloser(&flood{}))
					req.ContentLength = length
					resp, err := send(client, req, token)
					if err != nil {
						return err
					}
					defer resp.Body.Close()
					if got, err := io.ReadAll(resp.Body); err != nil || string(got) != fmt.Sprint(large, nil) {
						return fmt.Errorf("%s: the upstream says %.200s, %w", resp.Proto, got, err)
					}
					return nil
				})
			})
		}
		t.Run(g.name+"/down", func(t *testing.T) {
			measure(t, g, func() error {
				req, _ := http.NewRequestWithContext(t.Context(), "GET", g.url+"/bulk", nil)
				resp, err := send(client, req, token)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				if n, err := through(&drain{}, resp.Body); err != nil || n != large {
					return fmt.Errorf("%s: %d bytes arrived, %w", resp.Proto, n, err)
				}
				return nil
			})
		})
	}
}

// send makes a request with a caller's token; any answer but 200 is an error.
func send(client *http.Client, req *http.Request, token string) (*http.Response, error) {
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return nil, fmt.Errorf("%s: %s", resp.Status, text)
	}
	return resp, err
}

// measure bounds what the gateway's memory grows by while do runs.
func measure(t *testing.T, g gateway, do func() error) {
	t.Helper()
	// 5 resets the peak to what is resident now: proc(5), clear_refs.
	err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", g.PID()), []byte("5"), 0)
	if errors.Is(err, fs.ErrPermission) {
		t.Skip("what the gateway has in /proc is root's: run this as root")
	} else if err != nil {
		t.Fatal(err)
	}
	before := memory(t, g, "VmRSS")
	if err := do(); err != nil {
		t.Fatal(err)
	}
	peak := memory(t, g, "VmHWM")
	t.Logf("%d MiB resident, %d MiB at most while %d MiB passed", before>>20, peak>>20, large>>20)
	if peak-before > growth {
		t.Errorf("the gateway took %d MiB, want at most %d MiB", (peak-before)>>20, growth>>20)
	}
}

// memory is a line of the gateway's /proc/PID/status, in bytes.
func memory(t *testing.T, g gateway, name string) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.PID()))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatalf("no %s in\n%s", name, status)
	}
	kib, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
