package httpapi

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// once is a listener of one connection.
type once struct {
	conn   chan net.Conn
	closed chan struct{}
}

func (o *once) Accept() (net.Conn, error) {
	select {
	case c := <-o.conn:
		return c, nil
	case <-o.closed:
		return nil, net.ErrClosed
	}
}
func (o *once) Close() error   { close(o.closed); return nil }
func (o *once) Addr() net.Addr { return &net.UnixAddr{} }

// serveStream asks a server with a total time of 15 s for a stream of parts, each of which waits first.
func serveStream(t *testing.T, parts int, wait time.Duration) (body *bufio.Reader, ended chan error) {
	t.Helper()
	ended = make(chan error, 1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, p, end := stream(r.Context(), w, stallTimeout)
		defer end()
		for range parts {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				ended <- context.Cause(ctx)
				return
			}
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				ended <- err
				return
			}
			p.step()
		}
		ended <- nil
	})
	server := &http.Server{Handler: handler, ReadTimeout: 12 * time.Second, WriteTimeout: 15 * time.Second, ReadHeaderTimeout: time.Second}
	client, conn := net.Pipe()
	l := &once{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.conn <- conn
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	_, err := io.WriteString(client, "GET / HTTP/1.0\r\n\r\n")
	require.NoError(t, err)
	body = bufio.NewReaderSize(client, 16)
	return body, ended
}

// A stream takes as long as it needs while something happens, whoever is slow.
func TestStreamHasNoTotalTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		body, ended := serveStream(t, 20, 29*time.Second)
		_, err := io.Copy(io.Discard, body)
		require.NoError(t, err)
		require.NoError(t, <-ended)
		require.Greater(t, time.Since(begin), 9*time.Minute)
	})
}

// A reader that stops reading, or a source that has nothing more to say, ends a stream after 30 s.
func TestStreamEndsWithoutProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		_, ended := serveStream(t, 1000, 0)
		require.Error(t, <-ended)
		require.InDelta(t, 30, time.Since(begin).Seconds(), 1)
	})
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		body, ended := serveStream(t, 1, time.Hour)
		go func() { _, _ = io.Copy(io.Discard, body) }()
		require.Error(t, <-ended)
		require.InDelta(t, 30, time.Since(begin).Seconds(), 1)
	})
}
