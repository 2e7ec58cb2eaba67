package telemetry

import (
	"io"
	"sync"
	"time"
)

const (
	sinkSize  = 32 << 10
	sinkDelay = time.Second
)

// Sink is the one destination of all log lines. The logger's lines pass at once; request lines, of which there are
// thousands a second, wait in a buffer for at most a second. The order of both is kept: a line that passes takes what
// waits with it. Sink is safe for concurrent use.
type Sink struct {
	mu     sync.Mutex
	w      io.Writer
	buf    []byte
	timer  *time.Timer // armed while something waits; nil before the first line
	closed bool
}

// NewSink returns a sink that writes to w, which it does not close.
func NewSink(w io.Writer) *Sink {
	return &Sink{w: w, buf: make([]byte, 0, sinkSize)}
}

// Write writes what waits, then p, at once. It makes Sink the io.Writer of a logger.
func (s *Sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	return s.w.Write(p)
}

// Append adds a whole line, its line feed included, to what waits. The caller keeps line.
func (s *Sink) Append(line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.buf) > 0 && len(s.buf)+len(line) > sinkSize {
		s.flush()
	}
	if len(s.buf) == 0 && !s.closed {
		s.arm()
	}
	s.buf = append(s.buf, line...)
	if s.closed || len(s.buf) >= sinkSize {
		s.flush()
	}
}

// Flush writes what waits.
func (s *Sink) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
}

// Close writes what waits. Lines that come later, from requests that outlive the drain, are written at once.
func (s *Sink) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.flush()
}

// arm has what waits written a second from now. There is no goroutine while nothing waits.
func (s *Sink) arm() {
	if s.timer == nil {
		s.timer = time.AfterFunc(sinkDelay, s.Flush)
		return
	}
	s.timer.Reset(sinkDelay)
}

// flush writes the buffer, under the lock. A destination that fails loses the lines: there is nowhere to say so.
func (s *Sink) flush() {
	if s.timer != nil {
		s.timer.Stop()
	}
	if len(s.buf) == 0 {
		return
	}
	_, _ = s.w.Write(s.buf)
	s.buf = s.buf[:0]
}
