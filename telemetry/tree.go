package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// A Tree draws each finished trace as lines of text, for people:
//
//	POST stripe                      SERVER     3.1ms  status=200 route=stripe
//	├─ authenticate                            12µs  issuer=corp kind=human method=bearer
//	├─ decide                                   4µs  allow=true role=payments-engineer
//	├─ lease                                    1µs  secret=STRIPE_API_KEY stale=false ⇢ fetched by 4bf92f35
//	├─ record                                 901µs  seq=12
//	└─ POST api.stripe.com           CLIENT   1.9ms  status=200
//
// It shows the attributes of a list and no others, and holds a bounded number of
// traces that have not ended. It is made by NewTree and given to
// Setup.Processors.
type Tree struct {
	out  io.Writer
	opts TreeOptions

	mu    sync.Mutex
	open  map[trace.TraceID][]sdktrace.ReadOnlySpan
	order []trace.TraceID // of open, the oldest first
}

// TreeOptions are how a Tree draws. The zero value is for a file.
type TreeOptions struct {
	// Color uses the escape sequences of terminals.
	Color bool
	// Stable leaves out what differs from run to run: durations, ids, versions
	// and ages. It is for golden files.
	Stable bool
	// Show says, by its root, whether a trace is drawn. Default: those of
	// requests.
	Show func(root sdktrace.ReadOnlySpan) bool
}

const (
	maxTraces = 256 // that have not ended
	maxSpans  = 128 // of one of them
)

// NewTree returns a Tree that writes to out, one write a trace.
func NewTree(out io.Writer, o TreeOptions) *Tree {
	if o.Show == nil {
		o.Show = func(root sdktrace.ReadOnlySpan) bool { return root.SpanKind() == trace.SpanKindServer }
	}
	return &Tree{out: out, opts: o, open: make(map[trace.TraceID][]sdktrace.ReadOnlySpan)}
}

// OnStart implements sdktrace.SpanProcessor.
func (t *Tree) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// Shutdown implements sdktrace.SpanProcessor.
func (t *Tree) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdktrace.SpanProcessor.
func (t *Tree) ForceFlush(context.Context) error { return nil }

// OnEnd implements sdktrace.SpanProcessor. The root ends last; what ends after
// it is not drawn.
func (t *Tree) OnEnd(s sdktrace.ReadOnlySpan) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := s.SpanContext().TraceID()
	if parent := s.Parent(); parent.IsValid() && !parent.IsRemote() {
		t.keep(id, s)
		return
	}
	spans := t.open[id]
	t.forget(id)
	if t.opts.Show(s) {
		io.WriteString(t.out, t.draw(s, spans)) // nobody to tell when a terminal is gone
	}
}

func (t *Tree) keep(id trace.TraceID, s sdktrace.ReadOnlySpan) {
	spans, known := t.open[id]
	if !known {
		if len(t.order) == maxTraces {
			t.forget(t.order[0])
		}
		t.order = append(t.order, id)
	}
	if len(spans) < maxSpans {
		t.open[id] = append(spans, s)
	}
}

func (t *Tree) forget(id trace.TraceID) {
	delete(t.open, id)
	t.order = slices.DeleteFunc(t.order, func(other trace.TraceID) bool { return other == id })
}

// draw is the lines of one trace.
func (t *Tree) draw(root sdktrace.ReadOnlySpan, spans []sdktrace.ReadOnlySpan) string {
	children := make(map[trace.SpanID][]sdktrace.ReadOnlySpan)
	for _, s := range spans {
		children[s.Parent().SpanID()] = append(children[s.Parent().SpanID()], s)
	}
	var b strings.Builder
	var below func(s sdktrace.ReadOnlySpan, indent string)
	below = func(s sdktrace.ReadOnlySpan, indent string) {
		list := children[s.SpanContext().SpanID()]
		slices.SortStableFunc(list, func(a, b sdktrace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
		for i, child := range list {
			branch, next := "├─ ", "│  "
			if i == len(list)-1 {
				branch, next = "└─ ", "   "
			}
			t.line(&b, indent+branch, child)
			below(child, indent+next)
		}
	}
	t.line(&b, "", root)
	below(root, "")
	if !t.opts.Stable {
		b.WriteString("\n")
	}
	return b.String()
}

// line is one span.
func (t *Tree) line(b *strings.Builder, branch string, s sdktrace.ReadOnlySpan) {
	name := printable(s.Name())
	pad := strings.Repeat(" ", max(32-utf8.RuneCountInString(branch+name), 0))
	style := map[bool]string{true: "31", false: "1"}[s.Status().Code == codes.Error]
	b.WriteString(t.paint("2", branch) + t.paint(style, name))

	rest := make([]string, 0, 4)
	rest = append(rest, fmt.Sprintf("%-6s", kinds[s.SpanKind()]))
	if !t.opts.Stable {
		rest = append(rest, fmt.Sprintf("%8s", round(s.EndTime().Sub(s.StartTime()))))
	}
	rest = append(rest, t.attributes(s)...)
	if line := strings.TrimRight(strings.Join(rest, " "), " "); line != "" {
		b.WriteString(pad + " " + line)
	}
	b.WriteString("\n")
}

// kinds are those worth a word.
var kinds = map[trace.SpanKind]string{trace.SpanKindServer: "SERVER", trace.SpanKindClient: "CLIENT"}

// drawn are the attributes that a Tree shows, in this order.
var drawn = []struct {
	key    attribute.Key
	label  string
	varies bool // from run to run
}{
	{attr.HTTPResponseStatusCode, "status", false},
	{attr.Refusal, "refusal", false},
	{attr.Route, "route", false},
	{attr.UserID, "user", true},
	{attr.IdentityIssuer, "issuer", false},
	{attr.IdentityKind, "kind", false},
	{attr.IdentityMethod, "method", false},
	{attr.IdentityActor, "actor", true},
	{attr.DecisionAllow, "allow", false},
	{attr.DecisionRole, "role", false},
	{attr.DecisionReason, "reason", false},
	{attr.DecisionRevision, "revision", true},
	{attr.DecisionCached, "cached", false},
	{attr.Collection, "collection", false},
	{attr.SecretName, "secret", false},
	{attr.SecretVersion, "version", true},
	{attr.SecretAge, "age", true},
	{attr.SecretStale, "stale", false},
	{attr.AuditSeq, "seq", true},
	{attr.Vault, "vault", false},
	{attr.Result, "result", false},
	{attr.ErrorType, "error", false},
}

// attributes are the span's attributes, links and failure.
func (t *Tree) attributes(s sdktrace.ReadOnlySpan) []string {
	values := make(map[attribute.Key]attribute.Value)
	for _, kv := range s.Attributes() {
		values[kv.Key] = kv.Value
	}
	var list []string
	for _, d := range drawn {
		value, ok := values[d.key]
		switch {
		case !ok || value.String() == "":
		case d.varies && t.opts.Stable:
			list = append(list, t.paint("2", d.label+"=")+"…")
		case value.Type() == attribute.FLOAT64: // seconds
			list = append(list, t.paint("2", d.label+"=")+round(time.Duration(value.AsFloat64()*float64(time.Second))).String())
		default:
			list = append(list, t.paint("2", d.label+"=")+printable(value.String()))
		}
	}
	for _, link := range s.Links() {
		to := link.SpanContext.TraceID().String()[:8]
		if t.opts.Stable {
			to = "…"
		}
		verb := map[bool]string{true: "fetched by", false: "linked to"}[s.Name() == attr.SpanLease]
		list = append(list, t.paint("36", "⇢ "+verb+" "+to))
	}
	_, why := values[attr.ErrorType]
	_, refused := values[attr.Refusal]
	if s.Status().Code == codes.Error && !why && !refused {
		list = append(list, t.paint("31", cmp.Or(printable(s.Status().Description), "failed")))
	}
	return list
}

// paint puts a style around text.
func (t *Tree) paint(style, text string) string {
	if !t.opts.Color || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// printable keeps what a caller chose from moving the cursor, and from filling
// the screen.
func printable(s string) string {
	runes := []rune(s)
	if len(runes) > 160 {
		runes = append(runes[:159], '…')
	}
	for i, r := range runes {
		if !unicode.IsPrint(r) {
			runes[i] = '·'
		}
	}
	return string(runes)
}

// round keeps three digits or so.
func round(d time.Duration) time.Duration {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}
