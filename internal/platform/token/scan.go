package token

import (
	"bytes"
	"errors"
	"io"
)

const (
	// scanBuffer is what a scan holds of a file at once, in bytes.
	scanBuffer = 64 << 10
	// sniffed is how many of a file's first bytes are looked at for a NUL, which makes it binary; git looks as far.
	sniffed = 8000
)

// FoundAPIKey is a key in a text. It does not hold the key itself: what reports a leak must not be another one.
type FoundAPIKey struct {
	Line        int // from 1
	Environment Environment
	Masked      string // ums_live_4fGh…x9Qz: the public id's first four characters and the key's last four
	Last4       string // as lists of keys show it
}

// ScanAPIKeys reads a text of any size in constant memory and tells found of each key in it, in order. The checksum
// decides without a database, so what merely looks like a key is none. Binary files hold none. The error is the reader's.
func ScanAPIKeys(r io.Reader, found func(FoundAPIKey)) error {
	buf := make([]byte, scanBuffer)
	n, line := 0, 1
	for first := true; ; first = false {
		m, err := io.ReadFull(r, buf[n:])
		n += m
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if first && bytes.IndexByte(buf[:min(n, sniffed)], 0) >= 0 {
			return nil
		}
		scanAPIKeys(buf[:n], line, found)
		if err != nil {
			return nil //nolint:nilerr // the end
		}
		done := n - (apiKeySize - 1) // a key that is not whole yet begins behind it
		line += bytes.Count(buf[:done], []byte{'\n'})
		n = copy(buf, buf[done:n])
	}
}

func scanAPIKeys(text []byte, line int, found func(FoundAPIKey)) {
	counted := 0
	for at := 0; ; {
		next := bytes.Index(text[at:], []byte("ums_"))
		if next < 0 || at+next+apiKeySize > len(text) {
			return
		}
		at += next
		key := string(text[at : at+apiKeySize])
		parsed, ok := ParseAPIKey(key)
		if !ok {
			at++
			continue
		}
		line += bytes.Count(text[counted:at], []byte{'\n'})
		counted = at
		last4 := key[apiKeySize-4:]
		found(FoundAPIKey{
			Line: line, Environment: parsed.Environment, Last4: last4, Masked: key[:prefixSize+4] + "…" + last4,
		})
		at += apiKeySize
	}
}
