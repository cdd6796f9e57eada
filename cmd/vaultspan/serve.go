package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/config"
	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/telemetry"
	"github.com/vaultspan/vaultspan/vault/bitwarden"
)

func (p *program) serveCommand() *cobra.Command {
	s := &server{program: p, text: isTerminal(p.stderr)}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Run the gateway until SIGTERM or Ctrl-C, then let requests under way end. The log
is JSON on standard error, or text where that is a terminal.

The configuration and every file it names are watched: a change, or SIGHUP, is
applied at once if all of it is good, and otherwise changes nothing and says why
in the log, in /readyz and in the metric vaultspan.config.good. What listens
where, audit: and telemetry: are read at the start only.`,
		Example: "  vaultspan serve --config /etc/vaultspan/vaultspan.yaml",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := p.conceal(); err != nil {
				return err
			}
			cfg, err := p.load(c.Context(), s.path)
			if err != nil {
				return err
			}
			if p.getenv("GOGC") == "" {
				debug.SetGCPercent(garbage)
			}
			return s.run(c.Context(), cfg)
		},
	}
	configFlag(c, &s.path)
	return c
}

// garbage is how much memory may grow between collections, in percent of what is
// in use. That is little, and stays: Go's own 100 collects it several times a
// second under load. GOGC and GOMEMLIMIT in the environment have the last word.
const garbage = 200

// server is one run of the gateway. Zero fields mean what serve does; the demo
// sets the others.
type server struct {
	*program
	path       string
	text       bool                     // log text, not JSON
	processors []sdktrace.SpanProcessor // see spans as they end
	ready      func()                   // called once, when requests are served

	start       *config.Config // what is read at the start only
	reloads     reloadMeters
	reloadError atomic.Pointer[string] // why the file on disk is not what is served
	certificate atomic.Pointer[tls.Certificate]
}

// run serves cfg until ctx ends, then drains. It leaves nothing running.
func (s *server) run(ctx context.Context, cfg *config.Config) (err error) {
	tel, err := telemetry.Start(ctx, telemetry.Setup{
		Config: cfg.Telemetry, Getenv: s.getenv, Stderr: s.stderr, Text: s.text, Version: version(), Processors: s.processors,
	})
	if err != nil {
		return err
	}
	defer func() {
		if failed := tel.Shutdown(context.WithoutCancel(ctx)); failed != nil { // a dead collector is no failure of ours
			tel.Logger.Warn("telemetry was lost at the end", "error", failed)
		}
	}()
	log, err := audit.Open(audit.Setup{
		Config: cfg.Audit, Logger: tel.Logger, Meter: tel.MeterProvider,
		OnCheckpoint: func(note string) { tel.Logger.Info("audit checkpoint", "checkpoint", note) },
	})
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer func() { err = errors.Join(err, closeLog(ctx, log)) }()

	if s.reloads, err = newReloadMeters(tel.MeterProvider, s); err != nil {
		return err
	}
	s.start = cfg
	i := &instance{
		gateway: &proxy.Gateway{Audit: log, Tracer: tel.TracerProvider, Meter: tel.MeterProvider, Logger: tel.Logger, UserID: tel.UserID},
		log:     log, logger: tel.Logger, tracer: tel.TracerProvider, meter: tel.MeterProvider,
		budgets: &bitwarden.Budgets{}, fingerprintKey: fingerprintKey(cfg), current: &parts{config: &config.Config{}},
	}
	if err := s.apply(ctx, i, cfg); err != nil {
		return err
	}
	defer i.close()
	log.Change(audit.Event{Code: "started", Detail: "vaultspan " + version()})
	defer log.Change(audit.Event{Code: "stopped"})
	return s.listen(ctx, i, tel)
}

// apply is instance.apply with the listener's certificate, which is read anew.
func (s *server) apply(ctx context.Context, i *instance, cfg *config.Config) error {
	var certificate *tls.Certificate
	if cfg.TLS.Cert != "" {
		pair, err := tls.LoadX509KeyPair(cfg.TLS.Cert, cfg.TLS.Key)
		if err != nil {
			return fmt.Errorf("tls: %w", err)
		}
		certificate = &pair
	}
	if err := i.apply(ctx, cfg); err != nil {
		return err
	}
	s.certificate.Store(certificate)
	return nil
}

// listen serves callers and the admin until ctx ends.
func (s *server) listen(ctx context.Context, i *instance, tel *telemetry.Telemetry) error {
	cfg := i.current.config
	// Requests outlive ctx: they are given time to end.
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	var settings *tls.Config
	if cfg.TLS.Cert != "" {
		settings = &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certificate.Load(), nil },
		}
	}
	public := proxy.NewServer(life, i.gateway, settings)
	admin := &http.Server{Handler: s.admin(i, tel.Metrics), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second}

	publicListener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return cannotListen("listen", err)
	}
	adminListener, err := net.Listen("tcp", cfg.Admin.Listen)
	if err != nil {
		return errors.Join(cannotListen("admin.listen", err), publicListener.Close())
	}
	operators := &http.Server{Handler: s.operators(i), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second}
	failed := make(chan error, 3)
	if cfg.Admin.Socket != "" {
		socket, err := listenSocket(cfg.Admin.Socket)
		if err != nil {
			return errors.Join(fmt.Errorf("admin.socket: %w", err), publicListener.Close(), adminListener.Close())
		}
		defer operators.Close() // removes the file
		go func() { failed <- fmt.Errorf("admin.socket: %w", cmp.Or(operators.Serve(socket), errStopped)) }()
	}
	go func() {
		if settings != nil {
			failed <- fmt.Errorf("listen: %w", cmp.Or(public.ServeTLS(publicListener, "", ""), errStopped))
		} else {
			failed <- fmt.Errorf("listen: %w", cmp.Or(public.Serve(publicListener), errStopped))
		}
	}()
	go func() { failed <- fmt.Errorf("admin.listen: %w", cmp.Or(admin.Serve(adminListener), errStopped)) }()
	tel.Logger.Info("serving", "listen", publicListener.Addr().String(), "admin", adminListener.Addr().String(), "routes", len(cfg.Routes))
	if s.ready != nil {
		s.ready()
	}

	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	watching, stopWatching := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		s.watch(watching, i, hangup)
	}()
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
	}
	stopWatching()
	<-watched
	return errors.Join(err, s.drain(ctx, i, end, public, admin))
}

// cannotListen says what to do about an address.
func cannotListen(setting string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s: another process has this address: end it, or choose another in the configuration: %w", setting, err)
	}
	if errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("%s: ports below 1024 are for CAP_NET_BIND_SERVICE: grant it, or choose another port: %w", setting, err)
	}
	return fmt.Errorf("%s: %w", setting, err)
}

// drain lets requests end: new ones are refused, /readyz says no, and what is
// still open after shutdown_grace is cut, WebSockets and streams included. The
// listener stays open until then: net/http drops without a word what comes on a
// kept connection once it shuts down, and a caller could not tell whether its
// request was done.
func (s *server) drain(ctx context.Context, i *instance, end context.CancelCauseFunc, public, admin *http.Server) error {
	limit := cmp.Or(s.start.ShutdownGrace, 30*time.Second)
	i.logger.Info("draining", "limit", limit.String())
	i.gateway.Drain()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	stop := context.AfterFunc(grace, func() { end(proxy.ErrDraining) })
	defer stop()
	quiet := make(chan struct{})
	go func() {
		defer close(quiet)
		i.gateway.Wait()
	}()
	select {
	case <-quiet:
	case <-grace.Done():
	}
	err := public.Shutdown(grace)
	<-quiet
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // what was open has been cut, and recorded
	}
	return errors.Join(err, public.Close(), admin.Close())
}

// closeLog flushes the audit log.
func closeLog(ctx context.Context, log *audit.Log) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return log.Close(ctx)
}
