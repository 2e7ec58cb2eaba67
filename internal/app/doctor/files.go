package doctor

import (
	"context"
	"fmt"
	"syscall"
)

const (
	// A connection is a file: the service answers 1024 requests at once, and idle clients stay connected.
	wantedFiles = 4096
	leastFiles  = 1024
)

// files holds the limit of open files, of which each connection is one, against what a busy replica needs. It is that of this
// process: the service's own follows from how it is started.
func (d *doctor) files(context.Context) {
	limit, err := d.options.FileLimit()
	if err != nil {
		d.say("files", Skip, flat(err), "")
		return
	}
	says := fmt.Sprintf("this process may have %d files and connections open", limit)
	do := "raise it where the service is started: LimitNOFILE= (systemd), ulimits (compose), ulimit -n"
	switch {
	case limit < leastFiles:
		d.say("files", Fail, says+": a busy replica refuses connections", do)
	case limit < wantedFiles:
		d.say("files", Warn, says, do)
	default:
		d.ok("files", says)
	}
}

func fileLimit() (uint64, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("ask for the limit of files: %w", err)
	}
	return l.Cur, nil
}
