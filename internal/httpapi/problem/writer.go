package problem

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/user-management-service/ums/internal/platform/fault"
)

// The faults of the edge: what no handler declares.
var (
	ErrInternal = fault.New(fault.Internal, "internal_error",
		"Something went wrong on our side. Try again; if it stays, report the request id.")
	ErrMethodNotAllowed = fault.New(fault.MethodNotAllowed, "method_not_allowed",
		"This path does not know the method; the Allow header lists those it knows.")
	ErrTooLarge = fault.New(fault.TooLarge, "payload_too_large", "The request body is too large.")
	ErrTimeout  = fault.New(fault.Unavailable, "unavailable",
		"The service could not answer in time; try again shortly.").WithRetryAfter(time.Second)
)

// Config is what a Writer needs.
type Config struct {
	PublicURL string // scheme and host, without a path
	Log       *slog.Logger
	// Note is told the code of each problem of a request, and returns the request's id.
	Note func(ctx context.Context, code string) (requestID string)
	// Unavailable returns the fault of an error that means that a dependency cannot serve, or nil.
	Unavailable func(error) *fault.Error
}

// Writer writes problems. It is safe for concurrent use.
type Writer struct {
	base        string
	log         *slog.Logger
	note        func(context.Context, string) string
	unavailable func(error) *fault.Error
	catalogue   map[string]Entry
	lastWarning atomic.Int64 // unix seconds; at most one line a second tells why the service is unavailable
}

// New returns a Writer.
func New(cfg Config) *Writer {
	return &Writer{
		base:        strings.TrimSuffix(cfg.PublicURL, "/") + "/problems/",
		log:         cfg.Log,
		note:        cfg.Note,
		unavailable: cfg.Unavailable,
		catalogue:   byCode(),
	}
}

// Resolve returns what a client is told about err: a fault as it was declared, 413 for a body beyond its limit,
// 503 for a dependency that cannot serve or a deadline, and for everything else a generic 500. What is not told is
// logged here, once, with the request id; call it once per answer.
func (w *Writer) Resolve(ctx context.Context, err error) *Document {
	f := w.classify(err)
	d := w.document(ctx, f)
	switch {
	case f.Kind == fault.Internal:
		w.log.ErrorContext(ctx, "request failed", "request_id", d.RequestID, "code", d.Code, "error", err)
	case f.Kind == fault.Unavailable && ctx.Err() == nil && w.mayWarn():
		w.log.WarnContext(ctx, "request refused", "request_id", d.RequestID, "code", d.Code, "error", err)
	}
	return d
}

// Write answers r with the problem that err is. Nothing may have been written to rw before.
func (w *Writer) Write(rw http.ResponseWriter, r *http.Request, err error) {
	d := w.Resolve(r.Context(), err)
	body, encodeErr := d.MarshalJSON()
	if encodeErr != nil { // only a fault's own member can fail
		w.log.ErrorContext(r.Context(), "encode problem", "code", d.Code, "error", encodeErr)
		d.extra = nil
		body, _ = d.MarshalJSON()
	}
	h := rw.Header()
	for _, name := range []string{"Content-Encoding", "Content-Disposition", "ETag", "Last-Modified", "Link", "Location"} {
		h.Del(name) // what a handler had set for the answer that did not come
	}
	d.setHeaders(h)
	h.Set("Content-Type", ContentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	rw.WriteHeader(d.Status)
	_, _ = rw.Write(body) // the client may be gone
}

// document makes the public form of a fault.
func (w *Writer) document(ctx context.Context, f *fault.Error) *Document {
	status := Status(f.Kind)
	title := http.StatusText(status)
	if e, ok := w.catalogue[f.Code]; ok {
		title = e.Title
	}
	retry := f.RetryAfter
	if f.Kind == fault.Unavailable || f.Kind == fault.Limited {
		retry = cmp.Or(max(retry, 0), time.Second) // these two always say when
	}
	return &Document{
		Type: w.base + f.Code, Title: title, Status: status, Detail: f.Detail, Code: f.Code,
		RequestID: w.note(ctx, f.Code), Errors: f.Fields, extra: f.Extra, retryAfter: retry,
	}
}

func (w *Writer) classify(err error) *fault.Error {
	if f := fault.As(err); f != nil {
		if f.Kind != fault.Internal {
			return f
		}
		return ErrInternal // whatever it says of itself stays in the log
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return ErrTooLarge
	}
	if f := w.unavailable(err); f != nil {
		return f
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return ErrTimeout
	}
	return ErrInternal
}

// mayWarn holds at most once a second: a database that is away fails every request, and one line says so.
func (w *Writer) mayWarn() bool {
	now := time.Now().Unix()
	last := w.lastWarning.Load()
	return now != last && w.lastWarning.CompareAndSwap(last, now)
}
