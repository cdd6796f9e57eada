package telemetry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// queue is how many spans, or log records, wait for a collector. What comes
// after is dropped and counted: a dead collector costs this much memory and
// nothing else.
const queue = 4096

// lane is the way of one signal to its collector: it bounds what waits, counts
// what is lost and says why.
type lane struct {
	target  target
	conn    *grpc.ClientConn // of gRPC
	client  *http.Client     // of HTTP, through hop
	hop     *hop
	life    context.Context // ends when Shutdown gives up
	report  *reporter
	pending atomic.Int64
	dropped atomic.Int64

	handshake atomic.Pointer[error] // the last one's failure, of gRPC
}

// open makes what the target needs to connect later.
func (t target) open(life context.Context, report *reporter) (*lane, error) {
	l := &lane{target: t, life: life, report: report}
	if !t.grpc {
		l.client, l.hop = t.client()
		return l, nil
	}
	conn, err := t.conn(&l.handshake)
	if err != nil {
		return nil, fmt.Errorf("%s exporter: the endpoint is not an address", t.signal)
	}
	l.conn = conn
	return l, nil
}

// close drops the connections, idle or not.
func (l *lane) close() {
	if l.conn != nil {
		l.conn.Close()
		return
	}
	l.client.CloseIdleConnections()
}

// admit counts one item in, unless the queue is full.
func (l *lane) admit() bool {
	if l.pending.Add(1) <= queue {
		return true
	}
	l.pending.Add(-1)
	l.dropped.Add(1)
	return false
}

// export sends n items. Its error has been dealt with: the SDK would hand it to
// a global handler, with the collector's own words in it.
func (l *lane) export(ctx context.Context, n int, send func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.life, cancel)()
	err := send(ctx)
	if err == nil {
		return
	}
	lost, reason := int64(n), l.describe(err)
	if rejected, ok := partial(err); ok {
		lost, reason = rejected, "the collector rejected a part"
	}
	l.dropped.Add(lost)
	if l.life.Err() == nil { // else abandon has said it
		l.lament(reason, l.dropped.Load())
	}
}

// abandon says what is lost because Shutdown did not wait for it. The lane's
// life has ended.
func (l *lane) abandon() {
	if n := l.pending.Load(); n > 0 {
		l.lament("given up at shutdown", l.dropped.Load()+n)
	}
}

func (l *lane) lament(reason string, dropped int64) {
	l.report.say(l.life, "telemetry was not delivered",
		slog.String("signal", l.target.signal),
		slog.String("endpoint", l.target.url.Scheme+"://"+l.target.url.Host),
		slog.String("reason", reason),
		slog.Int64("dropped", dropped))
}

// rejected is how the exporters end the text of a partial success. Their error
// type is internal to each of them.
var rejected = regexp.MustCompile(`OTLP partial success: (?s:.*)\((\d{1,18}) [a-z ]+ rejected\)$`)

// partial is the number of items that the collector says it rejected.
func partial(err error) (int64, bool) {
	m := rejected.FindStringSubmatch(err.Error())
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return n, err == nil
}

// describe says why an export failed in words of ours: the text of an
// exporter's error may hold a URL, or what the collector said.
func (l *lane) describe(err error) string {
	if l.hop != nil {
		switch code := int(l.hop.status.Load()); {
		case code >= 300 && code < 400:
			return fmt.Sprintf("status %d: redirects are not followed", code)
		case code >= 400:
			return fmt.Sprintf("status %d %s", code, http.StatusText(code))
		case code != 0:
			return "the answer could not be read"
		}
		return cause(err)
	}
	if handshake := l.handshake.Load(); handshake != nil {
		return cause(*handshake) // which gRPC tells as text only
	}
	switch code := status.Code(err); code {
	case codes.OK, codes.Unknown, codes.Unavailable, codes.DeadlineExceeded:
		return cause(err)
	default:
		return "gRPC status " + code.String()
	}
}

// cause names what went wrong below HTTP or gRPC.
func cause(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the certificate is signed by an unknown authority"
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return "the certificate is expired or not yet valid"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the certificate is for another host"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the certificate is not valid"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the collector does not speak TLS"
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() ||
		errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded {
		return "no answer in time"
	}
	return "the collector could not be reached"
}

// reporter logs at most one problem a minute: a dead collector must not fill a
// disk as well.
type reporter struct {
	log *slog.Logger

	mu      sync.Mutex
	last    time.Time
	skipped int
}

func (r *reporter) say(ctx context.Context, msg string, attrs ...slog.Attr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); r.last.IsZero() || now.Sub(r.last) >= time.Minute {
		attrs = append(attrs, slog.Int("not_logged", r.skipped))
		r.last, r.skipped = now, 0
		r.log.LogAttrs(ctx, slog.LevelWarn, msg, attrs...)
		return
	}
	r.skipped++
}

// Handle implements otel.ErrorHandler. What the SDK has to say may quote a
// variable's value, so only its type is logged.
func (r *reporter) Handle(err error) {
	r.say(context.Background(), "the OpenTelemetry SDK reports a problem", slog.String("type", fmt.Sprintf("%T", err)))
}

// Println implements promhttp.Logger. What /metrics leaves out, such as a metric
// that two packages declare differently, is a mistake of ours; it names metrics
// and labels, which come from lists.
func (r *reporter) Println(v ...any) {
	r.say(context.Background(), "/metrics is not complete", slog.String("reason", printable(fmt.Sprintln(v...))))
}
