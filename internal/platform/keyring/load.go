package keyring

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/user-management-service/ums/internal/platform/secret"
)

const (
	fileName  = "master.key"
	howToMake = "make one with: openssl rand -base64 32"
)

// Config is the configuration of the master keys.
type Config struct {
	// MasterKey is base64 of 32 bytes; several are comma-separated, the first encrypts.
	MasterKey secret.Text `env:"UMS_MASTER_KEY"`
}

// ErrNoMasterKey stops a production start: a key that is made on the fly would be lost with the container,
// and with it every encrypted secret in the database.
var ErrNoMasterKey = errors.New("UMS_MASTER_KEY is not set; " + howToMake +
	" and keep it outside the database and its backups")

// Load returns the configured ring. Without a configured key, development uses the file master.key in dataDir, which is
// made once with mode 0600; processes that start at the same time get the same key. Production fails with ErrNoMasterKey.
func Load(cfg Config, dataDir string, development bool) (*Ring, error) {
	if text := strings.TrimSpace(cfg.MasterKey.Reveal()); text != "" {
		r, err := Parse(text)
		if err != nil {
			return nil, fmt.Errorf("UMS_MASTER_KEY: %w", err)
		}
		return r, nil
	}
	if !development {
		return nil, ErrNoMasterKey
	}
	path := filepath.Join(dataDir, fileName)
	text, err := readOrMake(path)
	if err != nil {
		return nil, fmt.Errorf("development master key: %w", err)
	}
	r, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("development master key %s: %w", path, err)
	}
	return r, nil
}

// Made says whether there is a key: a configured one, or the file that development makes at its first start.
func Made(cfg Config, dataDir string) bool {
	_, err := os.Stat(filepath.Join(dataDir, fileName))
	return !cfg.MasterKey.Empty() || err == nil
}

func readOrMake(path string) (string, error) {
	text, err := readPrivate(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	if err := make0600(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return readPrivate(path) // ours, or that of the process that was faster
}

// readPrivate refuses a key that other users of the machine can read, as ssh does.
func readPrivate(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("%s has mode %04o, so others can use it; run: chmod 600 %s", path, mode, path)
	}
	text, err := os.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}

// make0600 writes a new key beside path and links it there: the link fails when path exists, and whoever sees path
// sees the whole key. The folder keeps its usual mode, because the embedded database's own user must pass through it.
func make0600(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the key's own mode protects it
		return err
	}
	f, err := os.CreateTemp(dir, fileName+".*") // CreateTemp uses mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // a left-over is harmless: private, and never read
	raw := make([]byte, masterKeySize)
	rand.Read(raw) // never fails: it ends the program instead
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(raw) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", f.Name(), err)
	}
	return os.Link(f.Name(), path)
}
