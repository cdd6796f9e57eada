package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// nginxConfig and haproxyConfig do what serveReverseProxy does.
const nginxConfig = `
daemon off;
worker_processes auto;
pid DIR/nginx.pid;
error_log stderr;
events { worker_connections 4096; }
http {
	access_log off;
	client_body_temp_path DIR/nginx;
	proxy_temp_path DIR/nginx;
	fastcgi_temp_path DIR/nginx;
	uwsgi_temp_path DIR/nginx;
	scgi_temp_path DIR/nginx;
	keepalive_requests 1000000000;
	upstream upstream {
		server UPSTREAM;
		keepalive 256;
		keepalive_requests 1000000000;
	}
	server {
		listen ADDRESS;
		location / {
			proxy_pass http://upstream;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Authorization "Bearer CREDENTIAL";
		}
	}
}
`

const haproxyConfig = `
global
	maxconn 4096
defaults
	mode http
	timeout client 30s
	timeout server 30s
	timeout connect 5s
	http-reuse always
frontend callers
	bind ADDRESS
	default_backend upstream
backend upstream
	http-request set-header Authorization "Bearer CREDENTIAL"
	server upstream UPSTREAM
`

// rival is a proxy of the distribution, if it is installed.
type rival struct {
	world   *world
	program string
	config  string
	args    []string // before the file
}

// installed finds a program where distributions put daemons.
func installed(name string) (string, bool) {
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path, true
		}
	}
	return "", false
}

func (r rival) start(ctx context.Context, address string) (*process, error) {
	dir := r.world.dir
	text := strings.NewReplacer("DIR", dir, "ADDRESS", address, "UPSTREAM", r.world.address, "CREDENTIAL", r.world.credential).Replace(r.config)
	file := filepath.Join(dir, filepath.Base(r.program)+".conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	p, err := start(ctx, file+".log", r.program, nil, append(r.args, file)...)
	if err != nil {
		return nil, err
	}
	return p, p.ready(ctx, listening(address))
}
