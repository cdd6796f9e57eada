package otlp

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Signal is one of the three kinds of telemetry.
type Signal string

// The signals.
const (
	Traces  Signal = "traces"
	Metrics Signal = "metrics"
	Logs    Signal = "logs"
)

// Export is one request an exporter made.
type Export struct {
	Signal Signal
	Header http.Header
	JSON   []byte // the request in OTLP's JSON form
}

// Store keeps everything that was exported, in order of arrival.
type Store struct {
	mu      sync.Mutex
	exports []Export
	spans   []Span
	arrived chan struct{} // closed at the next export
}

func newStore() *Store { return &Store{arrived: make(chan struct{})} }

func (s *Store) traces(td ptrace.Traces, h http.Header) {
	text, err := new(ptrace.JSONMarshaler).MarshalTraces(td)
	s.add(Export{Traces, h, text}, err, spansOf(td))
}

func (s *Store) metrics(md pmetric.Metrics, h http.Header) {
	text, err := new(pmetric.JSONMarshaler).MarshalMetrics(md)
	s.add(Export{Metrics, h, text}, err, nil)
}

func (s *Store) logs(ld plog.Logs, h http.Header) {
	text, err := new(plog.JSONMarshaler).MarshalLogs(ld)
	s.add(Export{Logs, h, text}, err, nil)
}

func (s *Store) add(e Export, err error, spans []Span) {
	if err != nil {
		panic(fmt.Sprintf("otlp: %s that were just decoded do not encode: %v", e.Signal, err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exports = append(s.exports, e)
	s.spans = append(s.spans, spans...)
	close(s.arrived)
	s.arrived = make(chan struct{})
}

// Exports returns the requests of a signal.
func (s *Store) Exports(signal Signal) []Export {
	s.mu.Lock()
	defer s.mu.Unlock()
	var some []Export
	for _, e := range s.exports {
		if e.Signal == signal {
			some = append(some, e)
		}
	}
	return some
}

// Spans returns every span so far.
func (s *Store) Spans() []Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.spans)
}

// Trace returns the spans of one trace so far, by start.
func (s *Store) Trace(id string) []Span {
	spans := slices.DeleteFunc(s.Spans(), func(sp Span) bool { return sp.TraceID != id })
	slices.SortFunc(spans, byStart)
	return spans
}

// Dump is everything that was exported, as text to search, one request a line.
// Headers are not part of it: they carry the collector's own token.
func (s *Store) Dump() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []byte
	for _, e := range s.exports {
		all = append(append(append(all, e.Signal...), ' '), append(e.JSON, '\n')...)
	}
	return all
}

// Wait returns once ok says so of the store; it asks again after every export.
func (s *Store) Wait(ctx context.Context, ok func(*Store) bool) error {
	for {
		s.mu.Lock()
		arrived := s.arrived
		s.mu.Unlock()
		if ok(s) {
			return nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// WaitTrace returns the spans of a trace once its root has arrived, and at least
// one span of each of the names. A span whose parent is in nobody's export, since
// the caller began the trace, is a root too.
func (s *Store) WaitTrace(ctx context.Context, id string, names ...string) ([]Span, error) {
	var spans []Span
	err := s.Wait(ctx, func(s *Store) bool {
		spans = s.Trace(id)
		for _, name := range names {
			if !slices.ContainsFunc(spans, func(sp Span) bool { return sp.Name == name }) {
				return false
			}
		}
		return slices.ContainsFunc(spans, func(sp Span) bool { return sp.Parent == "" || sp.Kind == "SERVER" })
	})
	if err != nil {
		var got []string
		for _, sp := range spans {
			got = append(got, sp.Name)
		}
		return spans, fmt.Errorf("waiting for trace %s with %q, got [%s]: %w", id, names, strings.Join(got, ", "), err)
	}
	return spans, nil
}
