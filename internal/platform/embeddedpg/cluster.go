package embeddedpg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clusterMajor returns the major version that made the data in l, 0 when there is none yet.
func clusterMajor(l layout) (int, error) {
	b, err := os.ReadFile(filepath.Join(l.cluster(), "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the version of the data: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("read the version of the data in %s: %w", l.cluster(), err)
	}
	return major, nil
}

// create makes the cluster and in it the database, under another name, and renames it when all is done and on disk:
// what carries the final name is complete, and what an interruption leaves behind is swept by the next start.
func create(ctx context.Context, l layout, bin binaries, who *identity, ephemeral bool) error {
	work, err := os.MkdirTemp(l.base, "initdb-")
	if err != nil {
		return fmt.Errorf("make a folder for initdb: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }() // after the rename there is nothing of that name
	if err := own(work, who); err != nil {
		return fmt.Errorf("make a folder for initdb: %w", err)
	}
	if err := initdb(ctx, work, bin, who, ephemeral); err != nil {
		return err
	}
	single := exec.Command(filepath.Join(bin.dir, "postgres"), "--single", "-D", work, "template1") //nolint:gosec,noctx // the operator's own binary; run heeds ctx
	single.Stdin = strings.NewReader("CREATE DATABASE " + name + "\n")
	out, err := run(ctx, single, who)
	if err != nil || strings.Contains(string(out), "ERROR:") { // a statement that fails does not change the exit code
		return fmt.Errorf("create the database: %s (%w)", tail(out), cmp.Or(err, errors.New("the statement failed")))
	}
	if err := os.Rename(work, l.cluster()); err != nil {
		return fmt.Errorf("put the new cluster in place: %w", err)
	}
	return syncFolder(l.base)
}

// initdb makes a cluster that sorts by bytes on every machine and, where the system knows a UTF-8 locale, folds the case
// of all letters and not of ASCII alone.
func initdb(ctx context.Context, dir string, bin binaries, who *identity, ephemeral bool) error {
	var out []byte
	var err error
	for _, ctype := range []string{"C.UTF-8", "en_US.UTF-8", "C"} {
		args := []string{
			"--pgdata=" + dir, "--username=" + name, "--auth=trust", "--encoding=UTF8",
			"--locale=C", "--lc-ctype=" + ctype, "--data-checksums", "--no-instructions",
		}
		if ephemeral {
			args = append(args, "--no-sync")
		}
		cmd := exec.Command(filepath.Join(bin.dir, "initdb"), args...) //nolint:gosec,noctx // the operator's own binary; run heeds ctx
		if out, err = run(ctx, cmd, who); err == nil || !strings.Contains(string(out), "locale") {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, tail(out))
	}
	return nil
}

// sweep removes what interrupted runs of create left.
func sweep(l layout, log *slog.Logger) {
	left, _ := filepath.Glob(filepath.Join(l.base, "initdb-*")) // the only error is a bad pattern
	for _, dir := range left {
		log.Warn("removing an unfinished database cluster", "dir", dir)
		if err := os.RemoveAll(dir); err != nil {
			log.Warn("an unfinished database cluster stays", "dir", dir, "error", err)
		}
	}
}

// How long an orphan may take: a fast shutdown writes a checkpoint, an immediate one writes nothing.
const (
	fastWait      = 15 * time.Second
	immediateWait = 5 * time.Second
	pollEvery     = 10 * time.Millisecond
)

// reclaim makes the cluster free to start. It holds the folder's lock, so no living supervisor owns what it meets.
//
// A postmaster that still runs here is an orphan of a killed one. It is stopped, not adopted: it is not our child, so
// that we would neither learn of its end nor take it with us, and it may run with other settings; a clean restart takes
// well under a second. A pid file whose process is gone is left for PostgreSQL, which recovers by itself. One whose number
// now belongs to another program must go, since PostgreSQL would take that program for its rival; what
// guards the data against two postmasters, the shared memory keyed by the folder, stays in force.
func reclaim(ctx context.Context, l layout, log *slog.Logger) error {
	pid, _, ok := readPidFile(l)
	if !ok || !alive(pid) {
		return nil
	}
	if !runsCluster(pid, l.cluster()) {
		if !alive(pid) { // it ended while we looked
			return nil
		}
		log.Warn("removing a stale postmaster.pid, whose process number belongs to another program now", "pid", pid)
		if err := os.Remove(l.pidFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove the stale pid file: %w", err)
		}
		return nil
	}
	log.Warn("stopping the PostgreSQL of a service that was killed", "pid", pid, "dir", l.base)
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGINT, fastWait}, {syscall.SIGQUIT, immediateWait}} {
		if err := syscall.Kill(pid, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop the orphaned PostgreSQL, process %d: %w", pid, err)
		}
		gone, err := poll(ctx, step.wait, func() bool { return !alive(pid) || !runsCluster(pid, l.cluster()) })
		if gone || err != nil {
			return err
		}
	}
	return fmt.Errorf("PostgreSQL runs orphaned in %s as process %d and does not stop: stop it by hand", l.base, pid)
}

// readPidFile returns the postmaster's process and its status ("starting", "ready", …) from postmaster.pid.
func readPidFile(l layout) (pid int, status string, ok bool) {
	b, err := os.ReadFile(l.pidFile())
	if err != nil {
		return 0, "", false
	}
	lines := strings.Split(string(b), "\n")
	pid, err = strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid <= 0 {
		return 0, "", false
	}
	const statusLine = 7 // LOCK_FILE_LINE_PM_STATUS is the eighth; pg_ctl reads it in the same way
	if len(lines) > statusLine {
		status = strings.TrimSpace(lines[statusLine])
	}
	return pid, status, true
}

// alive says whether a process of that number exists, whoever owns it.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// poll asks done until it holds, limit has passed or ctx ends; only the last is an error.
func poll(ctx context.Context, limit time.Duration, done func() bool) (bool, error) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if done() {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("wait for PostgreSQL: %w", context.Cause(ctx))
		case <-deadline.C:
			return false, nil
		case <-tick.C:
		}
	}
}

// run runs a short-lived child as who and returns all that it printed. The end of ctx, and our own, kill it.
func run(ctx context.Context, cmd *exec.Cmd, who *identity) ([]byte, error) {
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = environment()
	cmd.Dir = "/"
	cmd.SysProcAttr = attributes(who, syscall.SIGKILL)
	started, ended := make(chan error, 1), make(chan struct{})
	var outcome error // settled when ended is closed
	go func() {
		runtime.LockOSThread() // see attributes
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			outcome = cmd.Wait()
			close(ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	select {
	case <-ended:
		return []byte(out.String()), outcome
	case <-ctx.Done():
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the group: initdb has children
		<-ended
		return []byte(out.String()), context.Cause(ctx)
	}
}

// environment is what the children see. It is not ours, which holds secrets and may hold PG* variables.
func environment() []string {
	env := []string{"LC_ALL=C", "TZ=UTC", "PATH=" + os.Getenv("PATH")}
	for _, name := range []string{"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// syncFolder makes a rename in dir survive a power failure.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// tail returns the last lines of a log, short enough for an error message.
func tail(b []byte) string {
	const limit = 1500
	s := strings.TrimSpace(string(b))
	if len(s) > limit {
		s = s[len(s)-limit:]
		if _, rest, ok := strings.Cut(s, "\n"); ok {
			s = rest
		}
	}
	return s
}
