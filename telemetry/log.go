package telemetry

import (
	"context"
	"encoding"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// writer is the handler of the process log: lines of JSON (or text) with the
// ids of the trace they belong to.
func writer(w io.Writer, text bool, level slog.Level) slog.Handler {
	opts := &slog.HandlerOptions{Level: level}
	if text {
		return clean{traced{slog.NewTextHandler(w, opts)}}
	}
	return clean{traced{slog.NewJSONHandler(w, opts)}}
}

// bridge is the handler that makes log records of OpenTelemetry, which know
// their trace themselves.
func bridge(provider log.LoggerProvider, level slog.Level) slog.Handler {
	return clean{leveled{otelslog.NewHandler(attr.Scope, otelslog.WithLoggerProvider(provider)), level}}
}

// traced adds trace_id and span_id.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }
func (h traced) WithGroup(name string) slog.Handler       { return traced{h.Handler.WithGroup(name)} }

// leveled drops what is below a level.
type leveled struct {
	slog.Handler
	level slog.Level
}

func (h leveled) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.Handler.Enabled(ctx, l)
}

func (h leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leveled{h.Handler.WithAttrs(attrs), h.level}
}

func (h leveled) WithGroup(name string) slog.Handler {
	return leveled{h.Handler.WithGroup(name), h.level}
}

// clean lets through the kinds of values that a log line is made of. Of any
// other, such as a header map, a request, a configuration or a func, the type is
// logged in place of the value.
type clean struct{ slog.Handler }

func (h clean) Handle(ctx context.Context, r slog.Record) error {
	cleaned := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		cleaned.AddAttrs(cleanAttr(a))
		return true
	})
	return h.Handler.Handle(ctx, cleaned)
}

func (h clean) WithAttrs(attrs []slog.Attr) slog.Handler {
	cleaned := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		cleaned[i] = cleanAttr(a)
	}
	return clean{h.Handler.WithAttrs(cleaned)}
}

func (h clean) WithGroup(name string) slog.Handler { return clean{h.Handler.WithGroup(name)} }

func cleanAttr(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	switch a.Value.Kind() {
	case slog.KindGroup:
		group := a.Value.Group()
		cleaned := make([]slog.Attr, len(group))
		for i, member := range group {
			cleaned[i] = cleanAttr(member)
		}
		a.Value = slog.GroupValue(cleaned...)
	case slog.KindAny:
		a.Value = cleanAny(a.Value.Any())
	}
	return a
}

func cleanAny(v any) slog.Value {
	switch v := v.(type) {
	case nil:
		return slog.AnyValue(nil)
	case error:
		return slog.StringValue(text(func() string { return withoutURLs(v) }))
	case *url.URL, url.URL, context.Context: // their text has the query, the user, the values in it
	case []string:
		return slog.StringValue(strings.Join(v, ", "))
	case []byte:
	case fmt.Stringer: // a type that chose what it shows
		return slog.StringValue(text(v.String))
	case encoding.TextMarshaler:
		return slog.StringValue(text(func() string { b, _ := v.MarshalText(); return string(b) }))
	}
	return slog.StringValue(fmt.Sprintf("(%T)", v))
}

// text is what f returns, or a word in place of a panic: a nil pointer in a log
// line must not take the process down.
func text(f func() string) (s string) {
	defer func() {
		if recover() != nil {
			s = "(nil)"
		}
	}()
	return f()
}

// withoutURLs is the text of an error without the query and the user of any URL
// that net/http put there: a query may be a credential.
func withoutURLs(err error) string {
	s := err.Error()
	var strip func(error)
	strip = func(err error) {
		if e, ok := err.(*url.Error); ok {
			s = strings.ReplaceAll(s, fmt.Sprintf("%q", e.URL), bareURL(e.URL))
			s = strings.ReplaceAll(s, e.URL, bareURL(e.URL))
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			strip(e.Unwrap())
		case interface{ Unwrap() []error }:
			for _, inner := range e.Unwrap() {
				strip(inner)
			}
		}
	}
	strip(err)
	return s
}

func bareURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		return "(URL)"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
