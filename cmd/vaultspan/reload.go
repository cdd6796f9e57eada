package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/config"
	"github.com/vaultspan/vaultspan/telemetry"
	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// lookEvery is how often the watched files are looked at. Their content is
// compared, not their times: secrets that Kubernetes mounts change by a link,
// editors write by renaming, and both look the same from here.
const lookEvery = time.Second

// watch applies the configuration again when a file it was made of changes, or
// on SIGHUP, until ctx ends.
func (s *server) watch(ctx context.Context, i *instance, hangup <-chan os.Signal) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	seen := digest(watched(i.current.config))
	for {
		hungUp := false
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			hungUp = true
		case <-ticker.C:
			i.settle()
		}
		files := watched(i.current.config)
		now := digest(files)
		if now == seen && !hungUp {
			continue
		}
		s.reload(ctx, i)
		// What was there before the reload read it: a file that was half written
		// then is a change at the next look.
		if seen = now; !slices.Equal(files, watched(i.current.config)) {
			seen = digest(watched(i.current.config))
		}
	}
}

// reload applies the file as it is now. A bad one changes nothing and is said
// in the log, a metric, readiness and the audit log.
func (s *server) reload(ctx context.Context, i *instance) {
	cfg, problems := s.examine(ctx, s.path)
	err := error(problems)
	if len(problems) == 0 {
		err = s.apply(ctx, i, cfg)
	}
	s.reloads.count(ctx, err)
	if err != nil {
		text := err.Error()
		s.reloadError.Store(&text)
		i.logger.Error("configuration refused: the last good one is still served", "error", text)
		i.log.Change(audit.Event{Code: "refused", Detail: "configuration refused: the last good one is served"})
		return
	}
	s.reloadError.Store(nil)
	i.logger.Info("configuration active", "revision", i.current.engine.Revision(), "routes", len(cfg.Routes))
	for _, setting := range restartFor(s.start, cfg, i.storeAt) {
		i.logger.Warn("this setting is read at the start only: restart to use it", "setting", setting)
	}
}

// restartFor names the settings that changed but are not applied by a reload.
// Sessions are kept where they were when people could first log in: storeAt.
func restartFor(was, is *config.Config, storeAt string) []string {
	var changed []string
	for setting, differs := range map[string]bool{
		"listen":       was.Listen != is.Listen,
		"admin.listen": was.Admin.Listen != is.Admin.Listen,
		"admin.socket": was.Admin.Socket != is.Admin.Socket,
		"tls":          (was.TLS.Cert == "") != (is.TLS.Cert == ""),
		"audit":        was.Audit.Dir != is.Audit.Dir || was.Audit.Mode != is.Audit.Mode || was.Audit.Wait != is.Audit.Wait || was.Audit.SegmentSize != is.Audit.SegmentSize,
		"audit.key":    was.Audit.Key() != is.Audit.Key(),
		"sessions":     is.HasPeople() && sessionsAt(is) != storeAt,
		"telemetry":    !sameTelemetry(was.Telemetry, is.Telemetry),
	} {
		if differs {
			changed = append(changed, setting)
		}
	}
	slices.Sort(changed)
	return changed
}

// sameTelemetry compares what two sections say: their pointers and funcs are those
// of two readings of the file.
func sameTelemetry(was, is telemetry.Config) bool {
	same := func(a, b func() string) bool { return (a == nil) == (b == nil) && (a == nil || a() == b()) }
	if !same(was.PseudonymKey, is.PseudonymKey) || !maps.EqualFunc(was.OTLP.Headers, is.OTLP.Headers, same) {
		return false
	}
	was.PseudonymKey, is.PseudonymKey, was.OTLP.Headers, is.OTLP.Headers = nil, nil, nil, nil
	return reflect.DeepEqual(was, is)
}

// reloadMeters counts reloads.
type reloadMeters struct{ reloads metric.Int64Counter }

func newReloadMeters(provider metric.MeterProvider, s *server) (reloadMeters, error) {
	meter := provider.Meter(attr.Scope)
	reloads, err := meter.Int64Counter(attr.MetricConfigReloads, metric.WithDescription("Configurations applied or refused."))
	if err != nil {
		return reloadMeters{}, err
	}
	_, err = meter.Int64ObservableGauge(attr.MetricConfigGood, metric.WithDescription("1 when the configuration on disk is what is served."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			good := int64(1)
			if s.reloadError.Load() != nil {
				good = 0
			}
			o.Observe(good)
			return nil
		}))
	return reloadMeters{reloads}, err
}

func (m reloadMeters) count(ctx context.Context, err error) {
	result := "ok"
	if err != nil {
		result = "refused"
	}
	m.reloads.Add(ctx, 1, metric.WithAttributes(attr.Result.String(result)))
}

// watched lists the files to look at: those the configuration was made of, and
// the modules that its globs match by now.
func watched(cfg *config.Config) []string {
	deny, replace, _ := cfg.Policy.Files() // one that is missing by now is among Files already
	return slices.Concat(cfg.Files(), deny, replace)
}

// digest names the content of files. One that cannot be read counts as such.
func digest(files []string) string {
	h := sha256.New()
	for _, name := range slices.Compact(slices.Sorted(slices.Values(files))) {
		content, err := os.ReadFile(name)
		sum := sha256.Sum256(content)
		clear(content) // it may be a secret, and this is done every second
		fmt.Fprintf(h, "%q %x %t\n", name, sum, err == nil)
	}
	return string(h.Sum(nil))
}
