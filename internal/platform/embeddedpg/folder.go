package embeddedpg

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// rootDir holds the databases whose own folder is closed to the user that runs PostgreSQL.
const rootDir = "/var/lib/ums"

// maxSocketPath is what a Unix socket's address holds: 104 bytes on BSD and macOS, 108 on Linux, with a final NUL.
const maxSocketPath = 103

// socketName is the file that PostgreSQL makes in the socket folder; the number is part of the name alone.
const socketName = ".s.PGSQL." + port

const port = "5432"

// identity is the user that runs PostgreSQL, which refuses to run as root. nil means: whoever we are.
type identity struct {
	name     string
	uid, gid uint32
}

// unprivileged returns who shall run PostgreSQL: ourselves, or as root the user postgres, else nobody.
func unprivileged() (*identity, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // no other user is needed, and that is no error
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if errUID != nil || errGID != nil || uid == 0 {
			continue
		}
		return &identity{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and this machine has neither a user postgres nor nobody: " +
		"run the service as an unprivileged user")
}

// layout is where the parts of one server are. base belongs to us; what is below cluster and socket belongs to the
// user that runs PostgreSQL, so that this user cannot replace the lock and the log, which we open with our rights.
type layout struct {
	base string
}

func (l layout) cluster() string { return filepath.Join(l.base, "cluster") }
func (l layout) socket() string  { return filepath.Join(l.base, "run") }
func (l layout) lock() string    { return filepath.Join(l.base, "lock") }
func (l layout) log() string     { return filepath.Join(l.base, "postgres.log") }
func (l layout) pidFile() string { return filepath.Join(l.cluster(), "postmaster.pid") }

// place makes the folder for a server asked for in dir. As root it is below /var/lib/ums when who cannot enter dir.
func place(dir string, who *identity) (layout, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return layout{}, fmt.Errorf("resolve %s: %w", dir, err)
	}
	if err := makeBase(dir, who); err != nil {
		return layout{}, err
	}
	if who == nil || canEnter(dir, who) {
		return layout{dir}, nil
	}
	_ = os.Remove(dir) // made in vain; one that holds something stays
	sum := sha256.Sum256([]byte(dir))
	other := filepath.Join(rootDir, strings.Trim(filepath.Base(dir), ".")+"-"+hex.EncodeToString(sum[:6]))
	if err := makeBase(other, who); err != nil {
		return layout{}, err
	}
	if !canEnter(other, who) {
		return layout{}, fmt.Errorf("the user %s, who runs PostgreSQL, can enter neither %s nor %s: open one of them (chmod o+x) "+
			"or name another folder in UMS_DATA_DIR", who.name, dir, other)
	}
	return layout{other}, nil
}

// makeBase makes dir with its parents. Another user who runs PostgreSQL passes through it, without listing it.
func makeBase(dir string, who *identity) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // the parents hold nothing of ours
		return fmt.Errorf("make the database folder: %w", err)
	}
	mode := os.FileMode(0o700)
	if who != nil {
		mode = 0o711
	}
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make the database folder: %w", err)
	}
	if err := os.Chmod(dir, mode); err != nil { // despite the umask
		return fmt.Errorf("set the mode of the database folder: %w", err)
	}
	return nil
}

// canEnter asks the kernel, who knows about parents, access lists and mounts: it starts a child as who, in dir.
func canEnter(dir string, who *identity) bool {
	cmd := exec.Command("/bin/sh", "-c", ":") //nolint:noctx // ends at once
	cmd.Dir = dir
	cmd.SysProcAttr = attributes(who, 0)
	return cmd.Run() == nil
}

// own makes a folder that only the user who runs PostgreSQL can enter.
func own(dir string, who *identity) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder needs its x bit
		return err
	}
	if who == nil {
		return nil
	}
	return os.Lchown(dir, int(who.uid), int(who.gid))
}

// socketFolder returns a folder for the Unix socket and what removes it: the layout's own, or, when its path does not
// fit into a socket address, one of a random name in a temporary folder. Whoever can enter it is the superuser of the
// database (pg_hba: trust), which is why its mode is 0700.
func socketFolder(l layout, who *identity) (dir string, remove func(), err error) {
	if dir := l.socket(); fits(dir) {
		if err := own(dir, who); err != nil {
			return "", nil, fmt.Errorf("make the socket folder: %w", err)
		}
		return dir, func() {}, nil
	}
	for _, tmp := range []string{os.TempDir(), "/tmp"} {
		dir, err := os.MkdirTemp(tmp, "ums-pg-")
		if err != nil {
			continue
		}
		if err := own(dir, who); err == nil && fits(dir) && (who == nil || canEnter(dir, who)) {
			return dir, func() { _ = os.RemoveAll(dir) }, nil
		}
		_ = os.RemoveAll(dir)
	}
	return "", nil, fmt.Errorf("no folder for the database socket: %s is too long for a socket address, and neither %s nor /tmp will do",
		l.socket(), os.TempDir())
}

func fits(dir string) bool { return len(dir)+1+len(socketName) <= maxSocketPath }

// takeLock makes this process the only supervisor of the folder. The kernel drops the lock with the process, however
// that ends, so a lock is never stale. Closing the file gives it back.
func takeLock(l layout) (*os.File, error) {
	f, err := os.OpenFile(l.lock(), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the database lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		owner := make([]byte, 20)
		n, _ := f.Read(owner)
		_ = f.Close()
		return nil, fmt.Errorf("%w: process %s holds %s; stop it, or name another folder in UMS_DATA_DIR",
			ErrInUse, strings.TrimSpace(string(owner[:n])), l.base)
	}
	if err := f.Truncate(0); err == nil { // the number only serves the message above
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}
