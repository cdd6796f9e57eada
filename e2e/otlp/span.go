package otlp

import (
	"cmp"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Span is one span as it was exported.
type Span struct {
	TraceID, SpanID, Parent string // hex; Parent empty for a root
	Name                    string
	Kind                    string // SERVER, CLIENT, INTERNAL…
	Start, End              time.Time
	Attributes              map[string]string // every value as text
	Links                   []Link
	Events                  []string
	Error                   bool
	Message                 string // of the status
	Scope                   string // the instrumentation's name
	Resource                map[string]string
}

// Link is a span's reference to another.
type Link struct{ TraceID, SpanID string }

func byStart(a, b Span) int {
	return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Name, b.Name), cmp.Compare(a.SpanID, b.SpanID))
}

func spansOf(td ptrace.Traces) []Span {
	var spans []Span
	for _, resource := range td.ResourceSpans().All() {
		about := texts(resource.Resource().Attributes())
		for _, scope := range resource.ScopeSpans().All() {
			for _, sp := range scope.Spans().All() {
				span := Span{
					TraceID:    sp.TraceID().String(),
					SpanID:     sp.SpanID().String(),
					Parent:     sp.ParentSpanID().String(),
					Name:       sp.Name(),
					Kind:       strings.ToUpper(sp.Kind().String()),
					Start:      sp.StartTimestamp().AsTime(),
					End:        sp.EndTimestamp().AsTime(),
					Attributes: texts(sp.Attributes()),
					Error:      sp.Status().Code() == ptrace.StatusCodeError,
					Message:    sp.Status().Message(),
					Scope:      scope.Scope().Name(),
					Resource:   about,
				}
				for _, link := range sp.Links().All() {
					span.Links = append(span.Links, Link{link.TraceID().String(), link.SpanID().String()})
				}
				for _, event := range sp.Events().All() {
					span.Events = append(span.Events, event.Name())
				}
				spans = append(spans, span)
			}
		}
	}
	return spans
}

func texts(attributes pcommon.Map) map[string]string {
	m := make(map[string]string, attributes.Len())
	for key, value := range attributes.All() {
		m[key] = value.AsString()
	}
	return m
}
