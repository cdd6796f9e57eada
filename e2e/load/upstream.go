package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
)

// The roles this program has when plan starts it, and where it reads the
// credential: not from the arguments, which everyone sees.
const (
	roleUpstream       = "upstream"
	roleReverseProxy   = "reverseproxy"
	credentialVariable = "LOAD_CREDENTIAL"
)

// serveUpstream answers a small JSON document to each request that has the
// credential as bearer, and 401 to others. Like wire it is no more than the load
// needs, so that what is left of the machine is the subject's.
func serveUpstream(ctx context.Context, address, credential string) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	body := `{"data":"` + strings.Repeat("0123456789abcdef", 63) + `"}`
	good := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	bad := []byte("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
	wanted := []byte("Authorization: Bearer " + credential)
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			in := bufio.NewReaderSize(conn, 16<<10)
			for authorized := false; ; {
				line, err := in.ReadSlice('\n')
				if err != nil {
					return
				}
				switch line = bytes.TrimRight(line, "\r\n"); {
				case len(line) > 0:
					authorized = authorized || bytes.EqualFold(line, wanted)
					continue
				case authorized:
					_, err = conn.Write(good)
				default:
					_, err = conn.Write(bad)
				}
				if err != nil {
					return
				}
				authorized = false
			}
		}()
	}
}
