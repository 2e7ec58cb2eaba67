package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress is a line on a terminal that says how far a long command is. Elsewhere it says nothing.
type progress struct {
	w     io.Writer // nil: no terminal
	began time.Time
	shown time.Time
}

const barWidth = 30

func newProgress(w io.Writer) *progress {
	if !isTerminal(w) {
		w = nil
	}
	return &progress{w: w, began: time.Now()}
}

// show says that n of total of what are done; a total of 0 is unknown. At most ten times a second.
func (p *progress) show(n, total int64, what string) {
	if p.w == nil || time.Since(p.shown) < 100*time.Millisecond {
		return
	}
	p.shown = time.Now()
	fmt.Fprint(p.w, "\r\x1b[K"+progressLine(n, total, what, time.Since(p.began)))
}

func progressLine(n, total int64, what string, took time.Duration) string {
	rate := int64(float64(n) / max(took.Seconds(), 0.001))
	if total <= 0 {
		return fmt.Sprintf("%d %s, %d/s", n, what, rate)
	}
	part := float64(min(n, total)) / float64(total)
	full := int(part * barWidth)
	return fmt.Sprintf("[%s%s] %3d%%  %d of %d %s, %d/s", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), int(part*100), n, total, what, rate)
}

// end removes the line.
func (p *progress) end() {
	if p.w != nil && !p.shown.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
