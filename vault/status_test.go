package vault_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/vaultspan/vaultspan/telemetry/attr"
	"github.com/vaultspan/vaultspan/vault"
)

var errThrottled = errors.New("slow down")

func TestStatusSaysWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		v := open(t, setup(a))
		time.Sleep(5 * time.Second)
		l := lease(t, v, stripeRef)
		s := v.Status()
		if s.Vault != "prod" || s.Age != 5*time.Second || s.Stale || s.Failures != 0 || s.Reason != "" || s.Err != nil || len(s.Secrets) != 2 {
			t.Errorf("status: %+v", s)
		}
		one := s.Secrets[0]
		if one.Secret != stripeRef || one.Route != "r" || one.ID != stripeID || one.Version != l.Version() || one.Fingerprint != l.Fingerprint() ||
			one.Age != 5*time.Second || one.Stale || one.Err != nil || one.Revised.IsZero() {
			t.Errorf("secret: %+v", one)
		}
		a.failWith(&vault.SourceError{Reason: vault.Throttled, Status: 429, Err: errThrottled})
		time.Sleep(2 * time.Minute)
		if s := v.Status(); s.Reason != vault.Throttled || s.Failures == 0 || !s.Stale || !s.Secrets[0].Stale || s.Secrets[0].Err != nil {
			t.Errorf("during an outage: %+v", s)
		}
		if err := v.Ready("prod/not/bound"); err == nil {
			t.Error("ready for what is not bound")
		}
	})
}

// FB05: an outage is one line in the log, and its end another.
func TestAnOutageIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		var log bytes.Buffer
		s := setup(a)
		s.Logger = slog.New(slog.NewJSONHandler(&log, nil))
		v := open(t, s)
		a.failWith(&vault.SourceError{Reason: vault.Throttled, Status: 429, Err: errThrottled})
		time.Sleep(10 * time.Minute)
		a.failWith(nil)
		a.put(stripeID, payments, "STRIPE_API_KEY", "CANARY\n")
		time.Sleep(10 * time.Minute)
		v.Close()
		var lines []string
		for line := range strings.Lines(log.String()) {
			var entry struct{ Level, Msg, Vault, Error string }
			if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Vault != "prod" {
				t.Errorf("%v: %s", err, line)
			}
			lines = append(lines, entry.Level+" "+entry.Error)
		}
		if len(lines) != 3 || !strings.HasPrefix(lines[0], "WARN secret manager: throttled") || !strings.HasPrefix(lines[1], "INFO") ||
			!strings.HasPrefix(lines[2], "ERROR the value of secret "+stripeID) {
			t.Errorf("log:\n%s", log.String())
		}
		if strings.Contains(log.String(), "CANARY") {
			t.Error("the log quotes a value")
		}
	})
}

// P17: metrics count by vault, route and the secret's id, never its name.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		a := newAccount()
		s := setup(a)
		s.Bindings = append(s.Bindings, bind("prod/payments/"+stripeID), bind("prod/no/SUCH"))
		s.Meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		v := open(t, s)
		time.Sleep(10 * time.Second)
		authorization(t, lease(t, v, stripeRef))
		authorization(t, lease(t, v, s.Bindings[2].Secret))
		a.failWith(unreachable())
		time.Sleep(2 * time.Minute)
		authorization(t, lease(t, v, stripeRef))

		got := collect(t, reader)
		prod := attr.Vault.String("prod")
		stripe := attr.SecretID.String(stripeID)
		for name, sets := range map[string][]attribute.Set{
			attr.MetricSyncs:        {attribute.NewSet(prod, attr.Result.String("ok")), attribute.NewSet(prod, attr.Result.String("unreachable"))},
			attr.MetricSyncDuration: {attribute.NewSet(prod, attr.Result.String("ok"))},
			attr.MetricVaultAge:     {attribute.NewSet(prod)},
			attr.MetricSecretAge:    {attribute.NewSet(prod, stripe)},
			attr.MetricLeaseUses: {attribute.NewSet(attr.Route.String("r"), stripe, attr.SecretStale.Bool(false)),
				attribute.NewSet(attr.Route.String("r"), stripe, attr.SecretStale.Bool(true))},
		} {
			for _, set := range sets {
				if got[name][set] == 0 {
					t.Errorf("%s has no value for %v: %v", name, set.Encoded(attribute.DefaultEncoder()), got[name])
				}
			}
		}
		if n := got[attr.MetricLeaseUses][attribute.NewSet(attr.Route.String("r"), stripe, attr.SecretStale.Bool(false))]; n != 2 {
			t.Errorf("%v fresh uses, want 2", n)
		}
		if age := got[attr.MetricVaultAge][attribute.NewSet(prod)]; age < 100 {
			t.Errorf("the last good refresh was %vs ago", age)
		}
		for name, sets := range got {
			for set := range sets {
				if strings.Contains(set.Encoded(attribute.DefaultEncoder()), "STRIPE") {
					t.Errorf("P17 %s names a secret", name)
				}
			}
		}
		v.Close()
		if n := len(collect(t, reader)[attr.MetricVaultAge]); n != 0 {
			t.Error("a closed vault is still observed")
		}
	})
}

// collect reads every number of every metric.
func collect(t *testing.T, reader *sdkmetric.ManualReader) map[string]map[attribute.Set]float64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]map[attribute.Set]float64)
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			values := make(map[attribute.Set]float64)
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					values[p.Attributes] = float64(p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					values[p.Attributes] = float64(p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					values[p.Attributes] = p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					values[p.Attributes] = float64(p.Count)
				}
			}
			all[m.Name] = values
		}
	}
	return all
}

// FH02, FK07: neither a clock that is set forward nor a suspended machine
// makes an old value look young.
func TestAgeIsByTheClockThatSaysMore(t *testing.T) {
	a := newAccount()
	var mu sync.Mutex
	var offset time.Duration
	s := setup(a)
	s.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		if offset == 0 {
			return now
		}
		return now.Round(0).Add(offset) // no monotonic reading: what a resumed machine's wall clock says
	}
	v := open(t, s)
	lease(t, v, stripeRef)
	mu.Lock()
	offset = time.Hour
	mu.Unlock()
	if got := refused(t, v, stripeRef); got != vault.Unavailable {
		t.Errorf("an hour later by the wall clock: %q", got)
	}
}
