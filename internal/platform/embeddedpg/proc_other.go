//go:build unix && !linux

package embeddedpg

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// attributes makes a child run as user and in a process group of its own (a Ctrl-C in the terminal is for us, who stop
// the database after everything that uses it). Outside Linux nothing ends a child with its parent: after kill -9 the
// server runs on, and the next start stops it.
func attributes(user *identity, _ syscall.Signal) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if user != nil {
		a.Credential = &syscall.Credential{Uid: user.uid, Gid: user.gid}
	}
	return a
}

// runsCluster says whether the process is a postmaster on that data folder, by its command line.
func runsCluster(pid int, cluster string) bool {
	out, err := exec.Command("ps", "-o", "args=", "-p", strconv.Itoa(pid)).Output() //nolint:noctx // ends at once
	return err == nil && strings.Contains(string(out), "postgres") && strings.Contains(string(out), cluster)
}
