package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

const (
	stallTimeout  = 30 * time.Second // without any progress, unless the configuration says otherwise
	answerTimeout = 5 * time.Second  // to be told why a body was refused that did not come
)

var errStalled = errors.New("the stream made no progress")

// progress keeps a stream alive as long as something happens: each step puts off the deadlines of the connection, which
// are otherwise the server's for a whole request, and the end of the context.
type progress struct {
	conn  *http.ResponseController
	stall time.Duration
	timer *time.Timer
}

// stream returns the context of a stream, which ends when nothing has happened for so long.
func stream(ctx context.Context, w http.ResponseWriter, stall time.Duration) (context.Context, *progress, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &progress{conn: http.NewResponseController(w), stall: stall, timer: time.AfterFunc(stall, func() { cancel(errStalled) })}
	p.step()
	return ctx, p, func() { p.timer.Stop(); cancel(nil) }
}

// step notes progress. A writer without deadlines, as tests have, goes without.
func (p *progress) step() {
	end := time.Now().Add(p.stall)
	_ = p.conn.SetReadDeadline(end) // net/http reads ahead, and ends the request when that times out
	_ = p.conn.SetWriteDeadline(end)
	p.timer.Reset(p.stall)
}

// answer gives a request whose body did not come the time to be told so.
func (p *progress) answer() { _ = p.conn.SetWriteDeadline(time.Now().Add(answerTimeout)) }

// streamed is an answer that is written while it is read from the database, in batches.
type streamed struct {
	Body func(huma.Context)
}

// streaming answers with what write produces. Whatever can be refused has been refused before: an error of write, or
// its panic, cuts the connection, so that nobody takes half an answer for a whole one. file is the name under which a
// browser saves it.
func (s *Server) streaming(media, file string, write func(ctx context.Context, w io.Writer) error) *streamed {
	return &streamed{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", media)
		hc.SetHeader("Content-Disposition", `attachment; filename="`+file+`"`)
		hc.SetStatus(http.StatusOK)
		ctx := hc.Context()
		if requestFrom(ctx).Method == http.MethodHead {
			return
		}
		if err := write(ctx, hc.BodyWriter()); err != nil {
			if ctx.Err() == nil {
				s.Log.ErrorContext(ctx, "answer cut off", "error", err, "route", callFrom(ctx).route.Path)
			}
			panic(http.ErrAbortHandler)
		}
	}}
}
