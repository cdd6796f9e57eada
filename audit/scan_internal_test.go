package audit

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The encoder, the scanner and encoding/json each know the fields of Event on
// their own. Here they agree, in names, order and kinds.
func TestScanKnowsTheFieldsOfEvent(t *testing.T) {
	typ := reflect.TypeFor[Event]()
	if typ.NumField() != int(fields) || len(keyKinds) != int(fields) {
		t.Fatalf("Event has %d fields, scan %d and %d", typ.NumField(), fields, len(keyKinds))
	}
	for i := range typ.NumField() {
		name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		kind := map[string]byte{
			"string": '"', "uint64": '0', "int64": '0', "int": '0', "bool": 't', "time.Time": '"', "[]string": '[', "time.Duration": '0',
		}[typ.Field(i).Type.String()]
		if keys[i] != name || keyKinds[i] != kind {
			t.Errorf("field %d is %s %c, scan has %s %c", i, name, kind, keys[i], keyKinds[i])
		}
	}
}

// FuzzEncode: any event is one line that scan takes apart and encoding/json
// reads as what it was.
func FuzzEncode(f *testing.F) {
	f.Add("/v1/x", "alice", "agent", int64(3), uint64(1))
	f.Add("\r\n\"\\", "\xff\u2028", "\x7f\u0080", int64(-1), uint64(0))
	f.Fuzz(func(t *testing.T, path, subject, actor string, sent int64, count uint64) {
		e := Event{Kind: KindIntent, Path: path, Subject: subject, Actors: []string{actor, path}, Sent: sent, Count: count}
		if e.check() != nil {
			t.Skip()
		}
		at := time.Unix(1, 2).UTC()
		line := appendLine(nil, 7, at, [32]byte{1}, appendBody(nil, &e))
		line = line[:len(line)-1]
		if strings.ContainsFunc(string(line), func(r rune) bool { return r < 0x20 }) {
			t.Fatalf("control character in %q", line)
		}
		var r record
		if err := scan(line, &r); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		var got Event
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		valid := func(s string) string { return string([]rune(s)) }
		e.Seq, e.Time, e.Prev = 7, at, "01"+strings.Repeat("00", 31)
		e.Path, e.Subject, e.Actors = valid(path), valid(subject), []string{valid(actor), valid(path)}
		if !reflect.DeepEqual(got, e) {
			t.Fatalf("got  %+v\nwant %+v", got, e)
		}
		if r.text(fPath) != e.Path || r.number(fSent) != sent || r.count() != count || !reflect.DeepEqual(r.list(fActors), e.Actors) {
			t.Fatalf("scan disagrees about %q", line)
		}
	})
}

// FuzzScan: what scan accepts is JSON, and of no other meaning to encoding/json.
func FuzzScan(f *testing.F) {
	line := appendLine(nil, 1, time.Unix(1, 0), [32]byte{}, appendBody(nil, &Event{Kind: KindChange, Code: "x", Actors: []string{"a", "b"}}))
	f.Add(line[:len(line)-1])
	f.Add([]byte(`{"seq":1,"seq":2}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var r record
		if scan(line, &r) != nil {
			return
		}
		var got struct {
			Seq  json.Number
			Kind string
		}
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		if string(r.values[fSeq]) != got.Seq.String() || r.text(fKind) != got.Kind {
			t.Fatalf("seq %d kind %q of %q", r.seq, r.text(fKind), line)
		}
	})
}
