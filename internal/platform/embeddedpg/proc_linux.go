package embeddedpg

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// attributes makes a child run as user, in a process group of its own (a Ctrl-C in the terminal is for us, who stop
// the database after everything that uses it), and receive onDeath when we die, by kill -9 too. The kernel ties
// the last to the thread that forks, so the caller must keep that thread for the child's life.
func attributes(user *identity, onDeath syscall.Signal) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: onDeath}
	if user != nil {
		a.Credential = &syscall.Credential{Uid: user.uid, Gid: user.gid}
	}
	return a
}

// runsCluster says whether the process is a postmaster on that data folder: a postmaster works in its data folder,
// and a process that merely got the number of a dead one does not.
func runsCluster(pid int, cluster string) bool {
	cwd, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	if err != nil {
		return false
	}
	folder, err := filepath.EvalSymlinks(cluster)
	return err == nil && cwd == folder
}
