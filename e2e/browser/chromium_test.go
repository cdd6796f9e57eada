package browser_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

// running is the one Chromium of all tests, started by the first.
var running struct {
	sync.Once
	ctx context.Context
	end context.CancelFunc
	err error
}

// chromium starts the browser. Each test has profiles of its own in it.
func chromium(t *testing.T) context.Context {
	t.Helper()
	path := bench.Need(t, "chromium")
	running.Do(func() {
		spki := sha256.Sum256(identity.Pair.Leaf.RawSubjectPublicKeyInfo)
		options := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, // tests run as root in containers
			chromedp.Flag("host-resolver-rules", "MAP *.test 127.0.0.1"),
			chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(spki[:])),
			chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		)
		allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, close := chromedp.NewContext(allocator)
		running.ctx, running.end = ctx, func() { close(); end() }
		running.err = chromedp.Do(ctx)
	})
	if running.err != nil {
		t.Fatalf("chromium: %v", running.err)
	}
	return running.ctx
}

// quit ends the browser.
func quit() {
	if running.end != nil {
		running.end()
	}
}

// tab is one of a browser that somebody sits in front of.
type tab struct {
	t   *testing.T
	w   *world
	ctx context.Context
}

// browser opens a browser that has never been anywhere.
func (w *world) browser(t *testing.T) tab {
	t.Helper()
	b := w.tabOf(t, chromium(t), chromedp.WithNewBrowserContext())
	t.Cleanup(func() { // runs before the tab closes
		for _, c := range b.cookies() {
			if strings.HasPrefix(c.Name, "__Host-vaultspan") && len(c.Value) > 8 {
				w.Plant(c.Value)
			}
		}
	})
	return b
}

// another opens one more tab of the same browser.
func (b tab) another() tab { b.t.Helper(); return b.w.tabOf(b.t, b.ctx) }

func (w *world) tabOf(t *testing.T, of context.Context, options ...chromedp.ContextOption) tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(of, options...)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // without a limit: the tab would end with it
		t.Fatal(err)
	}
	return tab{t, w, ctx}
}

// do has the browser do what a person does, one step after the other.
func (b tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%v; the browser shows %+v", err, b.sees())
	}
}

// result is what a step finds.
func result[T any](b tab, step chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, step)
	if err != nil {
		b.t.Fatalf("%v; the browser shows %+v", err, b.sees())
	}
	return v
}

// call sends a command of the protocol.
func call[P, R any](b tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	v, err := chromedp.Call(b.ctx, command, params)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// sight is what a person sees of a page, and where it is.
type sight struct{ URL, Heading, Text string }

// sees is what the tab shows at this moment, be it nothing yet.
func (b tab) sees() sight {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	s, _ := chromedp.Run(ctx, chromedp.Evaluate[sight](`({
		URL: location.href,
		Heading: document.readyState == "complete" && document.querySelector("h1")?.innerText || "",
		Text: document.body?.innerText || "",
	})`))
	return s
}

// until waits until the tab shows what is wanted.
func (b tab) until(what string, ok func(sight) bool) sight {
	b.t.Helper()
	var last sight
	if !eventually(func() bool { last = b.sees(); return ok(last) }) {
		b.t.Fatalf("the browser never showed %s, but %+v", what, last)
	}
	return last
}

// shows waits for a page with this heading.
func (b tab) shows(heading string) sight {
	b.t.Helper()
	return b.until("the page "+heading, func(s sight) bool { return s.Heading == heading })
}

// ends waits until the tab has come to exactly this URL.
func (b tab) ends(url string) {
	b.t.Helper()
	b.until(url, func(s sight) bool { return s.URL == url && s.Heading != "" })
}

// eventually asks again and again, and gives up with the patience of a test.
func eventually(ok func() bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return bench.Until(ctx, ok)
}

// cookies are all those that the browser has, of every site.
func (b tab) cookies() []*network.Cookie {
	b.t.Helper()
	id := chromedp.FromContext(b.ctx).BrowserContextID
	found, err := chromedp.CallBrowser(b.ctx, storage.GetCookies, storage.GetCookiesParams{BrowserContextID: id})
	if err != nil {
		b.t.Fatal(err)
	}
	return found.Cookies
}

// goes types an address.
func (b tab) goes(url string) { b.t.Helper(); b.do(chromedp.Navigate(url)) }

// clicks clicks what can be seen.
func (b tab) clicks(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(selector, chromedp.NodeVisible))
}

// signsIn goes to a page and signs in at an issuer of devidp, named by its title,
// as somebody.
func (b tab) signsIn(url, issuer, person string) {
	b.t.Helper()
	b.goes(url)
	b.chooses(issuer)
	b.clicks(`button[value="` + person + `"]`)
}

// chooses clicks an issuer on the page to choose on.
func (b tab) chooses(issuer string) {
	b.t.Helper()
	b.shows("Sign in")
	b.clicks(`//a[text()="` + issuer + `"]`)
}

// noScript turns scripts off, on pages: what the test asks works on.
func (b tab) noScript() {
	b.t.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// runs has the operator run a subcommand, where the gateway's configuration is.
func (b tab) runs(args ...string) string {
	b.t.Helper()
	cmd := exec.CommandContext(b.w.ctx, b.w.exe, args...)
	cmd.Dir = b.w.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Fatalf("vaultspan %q: %v\n%s", args, err, out)
	}
	b.w.Saw("vaultspan "+args[0], out)
	return string(out)
}
