package embeddedpg

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// minMajor is the oldest major version of PostgreSQL that the schema runs on.
const minMajor = 14

// rootCache is where binaries are looked for that a privileged user installed without a package manager: the
// unprivileged user that runs them may be unable to enter the folder of the project.
const rootCache = "/var/lib/ums/postgres/bin"

// ErrNoBinaries says that this machine has no usable PostgreSQL server, and what to do about it.
var ErrNoBinaries = errors.New("no PostgreSQL server (initdb and postgres, version " + strconv.Itoa(minMajor) +
	" or newer) was found: install one (Debian: apt install postgresql; macOS: brew install postgresql@17), " +
	"or name the folder of its binaries in UMS_POSTGRES_BIN, or a running database in UMS_DATABASE_URL")

// Find returns the folder of the PostgreSQL server binaries to use. A folder in UMS_POSTGRES_BIN is taken or refused;
// without it the first usable one of these is taken: PATH, `pg_config --bindir`, Debian's versioned folders and
// Homebrew's (newest first), Postgres.app, .cache/postgres/bin below the working folder, rootCache.
// The error is ErrNoBinaries or says what is wrong with UMS_POSTGRES_BIN.
func Find() (binDir string, err error) {
	b, err := find(0)
	return b.dir, err
}

// binaries is one installed PostgreSQL.
type binaries struct {
	dir   string
	major int
}

// find is Find for data of one major version, which no other major version can open; 0 takes any.
func find(major int) (binaries, error) {
	if dir := os.Getenv("UMS_POSTGRES_BIN"); dir != "" {
		b, err := inspect(dir)
		switch {
		case err != nil:
			return binaries{}, fmt.Errorf("UMS_POSTGRES_BIN: %w", err)
		case major != 0 && b.major != major:
			return binaries{}, fmt.Errorf("the data was made by PostgreSQL %d, but UMS_POSTGRES_BIN=%s is version %d",
				major, dir, b.major)
		}
		return b, nil
	}
	var others []string
	for _, dir := range candidates() {
		b, err := inspect(dir)
		if err != nil {
			continue
		}
		if major == 0 || b.major == major {
			return b, nil
		}
		others = append(others, fmt.Sprintf("%d in %s", b.major, b.dir))
	}
	if len(others) > 0 {
		return binaries{}, fmt.Errorf("the data was made by PostgreSQL %d, which is not installed (found: version %s): "+
			"install it, or name the folder of its binaries in UMS_POSTGRES_BIN", major, strings.Join(others, ", "))
	}
	return binaries{}, ErrNoBinaries
}

// candidates lists the folders where binaries may be, best first.
func candidates() []string {
	var dirs []string
	if p, err := exec.LookPath("postgres"); err == nil {
		// A link in PATH stands alone; initdb and the libraries are beside what it points to.
		if target, err := filepath.EvalSymlinks(p); err == nil {
			dirs = append(dirs, filepath.Dir(target))
		}
	}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil { //nolint:noctx // prints one line and ends
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		dirs = append(dirs, newestFirst(pattern)...)
	}
	if cache, err := filepath.Abs(".cache/postgres/bin"); err == nil {
		dirs = append(dirs, cache)
	}
	return append(dirs, rootCache)
}

// newestFirst expands a pattern whose star stands for a version. 9 comes after 10, which sorting text gets wrong.
func newestFirst(pattern string) []string {
	dirs, _ := filepath.Glob(pattern) // the only error is a bad pattern
	version := func(dir string) float64 {
		name := filepath.Base(filepath.Dir(dir))
		name = name[strings.LastIndexAny(name, "@-")+1:]
		v, err := strconv.ParseFloat(name, 64)
		if err != nil {
			return 0 // "latest" and its like: one of the others is the same thing under its own name
		}
		return v
	}
	slices.SortStableFunc(dirs, func(a, b string) int {
		switch va, vb := version(a), version(b); {
		case va > vb:
			return -1
		case va < vb:
			return 1
		}
		return 0
	})
	return dirs
}

// inspect says which PostgreSQL is in dir, or why none in there is usable.
func inspect(dir string) (binaries, error) {
	for _, name := range []string{"initdb", "postgres"} {
		info, err := os.Stat(filepath.Join(dir, name)) //nolint:gosec // the operator names the folder
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return binaries{}, fmt.Errorf("there is no executable %s in %s", name, dir)
		}
	}
	postgres := filepath.Join(dir, "postgres")
	out, err := exec.Command(postgres, "--version").Output() //nolint:gosec,noctx // the operator's own binary; prints one line and ends
	if err != nil {
		return binaries{}, fmt.Errorf("run %s --version: %w", postgres, err)
	}
	major, ok := parseMajor(string(out))
	if !ok || major < minMajor {
		return binaries{}, fmt.Errorf("%s is %q; version %d or newer is needed", postgres, strings.TrimSpace(string(out)), minMajor)
	}
	return binaries{dir: dir, major: major}, nil
}

// parseMajor reads the major version from "postgres (PostgreSQL) 15.18 (Debian …)" or "… 18beta2".
func parseMajor(out string) (int, bool) {
	_, v, ok := strings.Cut(out, "(PostgreSQL) ")
	if !ok {
		return 0, false
	}
	if i := strings.IndexFunc(v, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		v = v[:i]
	}
	major, err := strconv.Atoi(v)
	return major, err == nil
}
