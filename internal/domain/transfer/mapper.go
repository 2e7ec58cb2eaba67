package transfer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/user-management-service/ums/internal/platform/fault"
)

// Format is where a file comes from.
type Format string

// The formats. Native is this service's own: what Export wrote, or lines as POST /users/import takes them.
const (
	Native       Format = "ums"
	FastAPIUsers Format = "fastapi-users"
	Supabase     Format = "supabase"
	CSV          Format = "csv"
)

// Formats are all of them.
var Formats = []Format{Native, FastAPIUsers, Supabase, CSV}

// Mapping says how a foreign file becomes accounts.
type Mapping struct {
	From           Format
	Delimiter      rune              // of a table; 0: a comma
	Columns        map[string]string // of a table: the name of a column there → the member that it is
	AssumeVerified bool              // the operator vouches for every address
	KeepOthers     bool              // what has no place goes into app_metadata
	SuperuserRole  string            // of fastapi-users; empty: superusers get none
	Now            time.Time
}

// NotMapped is something of a file that has no place here.
type NotMapped struct {
	Column string `json:"column"`
	Rows   int64  `json:"rows"`
	Why    string `json:"why"`
}

// The reasons, by column or by themselves.
const (
	whyUnknown    = "has no place here; --keep-others puts it into app_metadata"
	whyUnverified = "a password comes with a verified address only; the owner sets another by mail, or use --assume-verified"
)

// Mapper reads a foreign file and is read as the lines of an import.
type Mapper struct {
	m         Mapping
	src       source
	become    func(*row, draft) (leave bool)
	reject    func(Rejection)
	lines     []int64 // of the file, by the lines of this part
	left      int64   // how many lines this part may still have
	pending   []byte  // the next line, and where it stands in the file
	pendingAt int64
	out       []byte // what is left of the line that is being read
	err       error  // what comes when the lines that are known have been read
	notMapped map[string]*NotMapped
	did       Report // what is known of lines that no import sees
}

// NewMapper begins to read a file. reject hears of rows that cannot be read.
func NewMapper(in io.Reader, m Mapping, reject func(Rejection)) (*Mapper, error) {
	x := &Mapper{m: m, reject: reject, notMapped: map[string]*NotMapped{}}
	if m.Delimiter == 0 {
		m.Delimiter = ','
	}
	text := bufio.NewReaderSize(in, 64<<10)
	var err error
	switch m.From {
	case Native:
		x.src = &native{in: text}
	case CSV:
		x.become = x.columns
		x.src, err = newTable(text, m.Delimiter, m.Columns)
	case FastAPIUsers:
		x.become = x.fastAPIUser
		x.src, err = either(text, m)
	case Supabase:
		x.become = x.supabaseUser
		x.src, err = either(text, m)
	default:
		err = fmt.Errorf("there is no format %q", m.From)
	}
	if err != nil {
		return nil, err
	}
	return x, nil
}

// either is a table, or JSON, as it begins.
func either(in *bufio.Reader, m Mapping) (source, error) {
	beginning, err := in.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	beginning = bytes.TrimSpace(bytes.TrimPrefix(beginning, []byte(byteOrderMark)))
	if len(beginning) > 0 && (beginning[0] == '[' || beginning[0] == '{') {
		return newDocuments(in)
	}
	return newTable(in, m.Delimiter, m.Columns)
}

// Part begins the next part, of at most this many lines, and says whether there is one. Read then ends with it.
func (x *Mapper) Part(most int64) bool {
	x.lines, x.left = x.lines[:0], most
	x.fill()
	return x.pending != nil || !errors.Is(x.err, io.EOF)
}

// Read implements io.Reader.
func (x *Mapper) Read(p []byte) (int, error) {
	if len(x.out) == 0 {
		if x.left == 0 {
			return 0, io.EOF
		}
		if x.fill(); x.pending == nil {
			return 0, x.err
		}
		x.out, x.lines, x.pending = append(x.pending, '\n'), append(x.lines, x.pendingAt), nil
		x.left--
	}
	n := copy(p, x.out)
	x.out = x.out[n:]
	return n, nil
}

// fill reads rows until one has become a line.
func (x *Mapper) fill() {
	for x.pending == nil && x.err == nil {
		r, err := x.src.next()
		if f := fault.As(err); f != nil {
			x.did.Read++
			x.refuse(r, f)
			continue
		}
		if x.err = err; err != nil {
			return
		}
		x.did.Read++
		if r.raw != nil {
			x.pending, x.pendingAt = r.raw, r.line
			return
		}
		x.err = x.turn(r)
	}
}

// turn makes a line of a row, unless it is wrong or is left out.
func (x *Mapper) turn(r *row) error {
	a := draft{}
	leave := x.become(r, a)
	if f := fault.As(r.faults.Err()); f != nil {
		x.refuse(r, f)
		return nil
	}
	if leave {
		x.did.Skipped++
		return nil
	}
	x.others(r, a)
	line, err := json.Marshal(a, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("encode line: %w", err)
	}
	x.pending, x.pendingAt = line, r.line
	return nil
}

func (x *Mapper) refuse(r *row, f *fault.Error) {
	x.did.Failed++
	if x.reject != nil {
		x.reject(NewRejection(r.line, f))
	}
}

// others is for what nobody took.
func (x *Mapper) others(r *row, a draft) {
	for _, name := range r.rest() {
		if !x.m.KeepOthers {
			x.note(name, whyUnknown)
			continue
		}
		v := r.values[name]
		var kept any
		if v.raw == nil || json.Unmarshal(v.raw, &kept) != nil {
			kept = v.text
		}
		a.member("app_metadata")[name] = kept
	}
}

// Line is where the line of a part, counted from 1, stands in the file.
func (x *Mapper) Line(n int64) int64 {
	if n < 1 || n > int64(len(x.lines)) {
		return 0
	}
	return x.lines[n-1]
}

// Did is how many rows were read, and how many of them no import sees: those that cannot be read, and those left out.
func (x *Mapper) Did() Report { return x.did }

// NotMapped is what had no place, by column.
func (x *Mapper) NotMapped() []NotMapped {
	all := []NotMapped{}
	for _, name := range slices.Sorted(maps.Keys(x.notMapped)) {
		all = append(all, *x.notMapped[name])
	}
	return all
}

func (x *Mapper) note(column, why string) {
	n := x.notMapped[column]
	if n == nil {
		n = &NotMapped{Column: column, Why: why}
		x.notMapped[column] = n
	}
	n.Rows++
}

// person sets what every format has: the address, whether it is proven, and the password, which comes with a proven one only.
func (x *Mapper) person(r *row, a draft, verified bool, hashColumn string) {
	a.set("email", r.text("email"))
	verified = verified || x.m.AssumeVerified
	a["email_verified"] = verified
	switch hash := r.text(hashColumn); {
	case hash != "" && verified:
		a["password_hash"] = hash
	case hash != "":
		x.note(hashColumn, whyUnverified)
	}
}

// native is lines as they are.
type native struct {
	in   *bufio.Reader
	line int64
}

// longestLine is as much of a line as shows that it is too long for an import.
const longestLine = 64<<10 + 1

func (n *native) next() (*row, error) {
	for {
		var text []byte
		var err error
		for more := true; more; more = errors.Is(err, bufio.ErrBufferFull) {
			var part []byte
			part, err = n.in.ReadSlice('\n')
			text = append(text, part[:min(len(part), max(0, longestLine+2-len(text)))]...)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		n.line++
		if text = bytes.TrimSpace(text); len(text) > 0 {
			return &row{line: n.line, raw: text}, nil // with io.EOF the next call has nothing
		}
		if err != nil {
			return nil, err
		}
	}
}
