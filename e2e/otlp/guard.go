package otlp

import (
	"context"
	"errors"
	"net/http"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configauth"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/extension/extensionauth"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
)

// guard is an authenticator, as the collector's extensions are: it refuses
// exports before their spans are looked at.
type guard struct {
	component.StartFunc
	component.ShutdownFunc
	extensionauth.ServerAuthenticateFunc
}

var guardID = component.MustNewID("guard")

// guarded makes both protocols ask whether the headers of an export will do.
func guarded(cfg *otlpreceiver.Config, accept func(http.Header) bool) component.Host {
	auth := configauth.Config{AuthenticatorID: guardID}
	cfg.Protocols.GRPC.Get().Auth = configoptional.Some(auth)
	cfg.Protocols.HTTP.Get().ServerConfig.Auth = configoptional.Some(confighttp.AuthConfig{Config: auth})
	return guardedHost{componenttest.NewNopHost(), guard{ServerAuthenticateFunc: func(ctx context.Context, sources map[string][]string) (context.Context, error) {
		header := http.Header{}
		for name, values := range sources {
			for _, v := range values {
				header.Add(name, v)
			}
		}
		if !accept(header) {
			return ctx, errors.New("not with these headers")
		}
		return ctx, nil
	}}}
}

// guardedHost is a collector with one extension.
type guardedHost struct {
	component.Host
	guard guard
}

func (h guardedHost) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{guardID: h.guard}
}
