package transfer

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/platform/fault"
)

// maxRow bounds what one account of a foreign file takes in memory, in bytes.
const maxRow = 4 << 20

// ErrLongRow is of a file that is not what it was said to be, or whose quotes do not close.
var ErrLongRow = errors.New("one account of the file is longer than 4 MiB: a quote or bracket may not close")

var errRow = fault.New(fault.Malformed, "malformed_line", "The line cannot be read as a row of this format.")

// source gives the rows of a file; io.EOF is its end. A fault is the row's alone.
type source interface {
	next() (*row, error)
}

// bounded reads at most maxRow bytes between two calls of renew.
type bounded struct {
	in   io.Reader
	left int
}

func newBounded(in io.Reader) *bounded { return &bounded{in, maxRow} }

func (b *bounded) renew() { b.left = maxRow }

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, ErrLongRow
	}
	n, err := b.in.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

const byteOrderMark = "\uFEFF"

// table is a file of comma-separated values with a header (RFC 4180).
type table struct {
	in      *bounded
	csv     *csv.Reader
	columns []string
}

// newTable reads the header. Columns are renamed by rename: their name there, and what they are here.
func newTable(in io.Reader, comma rune, rename map[string]string) (*table, error) {
	b := newBounded(in)
	text := bufio.NewReader(b)
	if mark, err := text.Peek(len(byteOrderMark)); err == nil && string(mark) == byteOrderMark {
		_, _ = text.Discard(len(byteOrderMark))
	}
	r := csv.NewReader(text)
	r.Comma = comma
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty: its first line names the columns")
	}
	if err != nil {
		return nil, fmt.Errorf("read the header of the file: %w", err)
	}
	t := &table{in: b, csv: r}
	seen := map[string]bool{}
	for _, name := range header {
		name = strings.TrimSpace(name)
		if other, ok := rename[name]; ok {
			name = other
		}
		if seen[name] {
			return nil, fmt.Errorf("two columns of the file are %q", name)
		}
		seen[name] = true
		t.columns = append(t.columns, name)
	}
	r.ReuseRecord = true
	return t, nil
}

func (t *table) next() (*row, error) {
	t.in.renew()
	record, err := t.csv.Read()
	var bad *csv.ParseError
	if errors.As(err, &bad) {
		return &row{line: int64(bad.StartLine)}, errRow
	}
	if err != nil {
		return nil, err
	}
	at, _ := t.csv.FieldPos(0)
	r := &row{line: int64(at), values: make(map[string]value, len(record))}
	for i, text := range record {
		if text != "" {
			r.values[t.columns[i]] = value{text: text}
		}
	}
	return r, nil
}

// documents is a file of JSON: an array of objects, objects one after the other, or {"users": [ … ]}.
type documents struct {
	in     *bounded
	lines  *lineCounter
	dec    *jsontext.Decoder
	listed bool // within an array
}

var wrapped = regexp.MustCompile(`^\s*\{\s*"users"\s*:\s*\[`)

func newDocuments(in io.Reader) (*documents, error) {
	b := newBounded(in)
	lines := &lineCounter{in: b}
	text := bufio.NewReaderSize(lines, 4<<10)
	if mark, err := text.Peek(len(byteOrderMark)); err == nil && string(mark) == byteOrderMark {
		_, _ = text.Discard(len(byteOrderMark))
		lines.before = int64(len(byteOrderMark))
	}
	beginning, err := text.Peek(1 << 10)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	d := &documents{in: b, lines: lines, dec: jsontext.NewDecoder(text)}
	tokens := 0
	switch {
	case wrapped.Match(beginning):
		tokens = 3
	case d.dec.PeekKind() == '[':
		tokens = 1
	}
	d.listed = tokens > 0
	for range tokens {
		if _, err := d.dec.ReadToken(); err != nil {
			return nil, fmt.Errorf("read the file: %w", err)
		}
	}
	return d, nil
}

func (d *documents) next() (*row, error) {
	d.in.renew()
	if d.listed && d.dec.PeekKind() == ']' {
		return nil, io.EOF
	}
	text, err := d.dec.ReadValue()
	place := d.dec.InputOffset() - int64(len(text))
	var broken *jsontext.SyntacticError
	if errors.As(err, &broken) {
		place = broken.ByteOffset
	}
	line := d.lines.at(place)
	switch {
	case err == nil:
	case errors.Is(err, ErrLongRow):
		return nil, ErrLongRow
	case errors.Is(err, io.EOF) && !d.listed:
		return nil, io.EOF
	default:
		// Not the decoder's own words: they may repeat the file.
		return nil, fmt.Errorf("the file is no JSON from line %d on", line)
	}
	r := &row{line: line}
	var members map[string]jsontext.Value
	if text.Kind() != '{' || json.Unmarshal(text, &members) != nil {
		return r, errRow
	}
	r.values = make(map[string]value, len(members))
	for name, member := range members {
		switch member.Kind() {
		case 'n':
		case '"':
			var s string
			if err := json.Unmarshal(member, &s); err != nil {
				return r, errRow
			}
			if s != "" {
				r.values[name] = value{text: s, raw: member}
			}
		case '{', '[':
			r.values[name] = value{text: string(member), json: member, raw: member}
		default:
			r.values[name] = value{text: string(member), raw: member}
		}
	}
	return r, nil
}

// lineCounter knows in which line a place of what it has read lies. Places are asked for in their order.
type lineCounter struct {
	in     io.Reader
	before int64 // bytes that whoever asks does not count
	read   int64
	passed int64   // line ends before the last place that was asked for
	ends   []int64 // the places of those after it
}

// Read implements io.Reader.
func (l *lineCounter) Read(p []byte) (int, error) {
	n, err := l.in.Read(p)
	for i, c := range p[:n] {
		if c == '\n' {
			l.ends = append(l.ends, l.read+int64(i))
		}
	}
	l.read += int64(n)
	return n, err
}

func (l *lineCounter) at(place int64) int64 {
	n := 0
	for n < len(l.ends) && l.ends[n] < place+l.before {
		n++
	}
	l.ends = append(l.ends[:0], l.ends[n:]...)
	l.passed += int64(n)
	return l.passed + 1
}
