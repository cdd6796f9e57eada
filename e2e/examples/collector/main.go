// Command collector is the collector's OTLP receiver by itself, on the usual
// ports of 127.0.0.1: it prints what arrives. It stands in for a collector, or a
// service such as Lightstep, in the examples.
//
// With -token NAME it refuses exports whose header NAME is not the value of the
// environment variable TOKEN.
package main

import (
	"context"
	"crypto/subtle"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/vaultspan/vaultspan/e2e/otlp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "collector:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	name := flag.String("token", "", "the `header` that must hold $TOKEN")
	flag.Parse()
	config := otlp.Config{GRPC: "127.0.0.1:4317", HTTP: "127.0.0.1:4318"}
	if *name != "" {
		want := os.Getenv("TOKEN")
		if want == "" {
			return fmt.Errorf("-token %s: TOKEN is empty", *name)
		}
		config.Accept = func(h http.Header) bool {
			ok := subtle.ConstantTimeCompare([]byte(h.Get(*name)), []byte(want)) == 1
			if !ok {
				fmt.Printf("refused an export: its %s is not the one\n", *name)
			}
			return ok
		}
	}
	receiver, err := otlp.Open(ctx, config)
	if err != nil {
		return err
	}
	fmt.Printf("waiting for OTLP on %s (gRPC) and %s (HTTP)\n", config.GRPC, config.HTTP)
	var spans int
	exports := map[otlp.Signal]int{}
	receiver.Wait(ctx, func(s *otlp.Store) bool {
		for _, sp := range s.Spans()[spans:] {
			fmt.Printf("trace %s  %s: %s\n", sp.TraceID, sp.Resource["service.name"], sp.Name)
			spans++
		}
		for _, signal := range []otlp.Signal{otlp.Metrics, otlp.Logs} {
			for _, export := range s.Exports(signal)[exports[signal]:] {
				fmt.Printf("%s, %d bytes\n", signal, len(export.JSON))
				exports[signal]++
			}
		}
		return false
	})
	return receiver.Close(context.WithoutCancel(ctx))
}
