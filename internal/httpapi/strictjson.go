package httpapi

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/platform/fault"
)

const maxDepth = 32

var errMalformed = fault.New(fault.Malformed, "malformed_request",
	"The body is not one well-formed JSON document in UTF-8.")

// Values that may have lines: everywhere else a control character is a fault.
var multiline = map[string]bool{"bio": true, "description": true, "reason": true}

// Free-form objects: lines are allowed anywhere inside.
var freeform = map[string]bool{"metadata": true, "app_metadata": true, "attributes": true}

// checker is what one reading of a body needs.
type checker struct {
	dec  jsontext.Decoder
	body bytes.Buffer
}

var checkers = sync.Pool{New: func() any { return new(checker) }}

// checkJSON reads a body once, strictly (RFC 8259, and I-JSON as far as it refuses): duplicate names, trailing data,
// invalid UTF-8 and more than 32 levels are malformed (400); what is JSON but holds a character or number that no field
// takes is returned as faults of single values (422), so that they join those of the schema.
func checkJSON(body []byte) ([]fault.Field, error) {
	c, _ := checkers.Get().(*checker)
	defer checkers.Put(c)
	c.body = *bytes.NewBuffer(body) // read where it lies, and by nobody else
	dec := &c.dec
	dec.Reset(&c.body)
	defer func() {
		c.body = bytes.Buffer{} // a body may hold secrets: the pool keeps none
		dec.Reset(&c.body)
	}()
	var faults []fault.Field
	for {
		tok, err := dec.ReadToken()
		if err != nil {
			return nil, errMalformed.Because(err)
		}
		depth := dec.StackDepth()
		if depth > maxDepth {
			return nil, errMalformed.WithDetail("The body is nested deeper than 32 levels.")
		}
		if f, bad := checkToken(dec, tok); bad {
			faults = append(faults, f)
		}
		if depth > 0 {
			continue
		}
		if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
			return nil, errMalformed.WithDetail("The body has data after its end.")
		}
		return faults, nil
	}
}

func checkToken(dec *jsontext.Decoder, tok jsontext.Token) (fault.Field, bool) {
	switch tok.Kind() {
	case '"':
		if clean(tok.String()) {
			return fault.Field{}, false
		}
		return checkText(string(dec.StackPointer()), tok.String())
	case '0':
		if f, err := strconv.ParseFloat(tok.String(), 64); err != nil || math.IsInf(f, 0) {
			return fault.Field{Pointer: string(dec.StackPointer()), Code: "out_of_range", Detail: "The number is too large."}, true
		}
	}
	return fault.Field{}, false
}

// clean says quickly that a text is printable ASCII, as nearly all are.
func clean(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

func checkText(pointer, s string) (fault.Field, bool) {
	for _, r := range s {
		switch {
		case (r == '\n' || r == '\t') && mayHaveLines(pointer):
		case unicode.IsControl(r):
			return fault.Field{Pointer: pointer, Code: "control_character", Detail: "Remove the control character."}, true
		case r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef:
			return fault.Field{Pointer: pointer, Code: "noncharacter", Detail: "Remove the code point that is no character."}, true
		}
	}
	return fault.Field{}, false
}

func mayHaveLines(pointer string) bool {
	parts := strings.Split(pointer, "/")
	if multiline[parts[len(parts)-1]] {
		return true
	}
	for _, p := range parts[:len(parts)-1] {
		if freeform[p] {
			return true
		}
	}
	return false
}

// buffers hold answers while they are encoded.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// The format of every JSON body: case-sensitive names, no duplicates, a nil slice is []. It is written in one piece.
func marshalJSON(w io.Writer, v any) error {
	buf, _ := buffers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= 256<<10 {
			buf.Reset()
			buffers.Put(buf)
		}
	}()
	if err := json.MarshalWrite(buf, v, json.Deterministic(true)); err != nil {
		return err
	}
	_, err := w.Write(buf.Bytes())
	return err
}

func unmarshalJSON(body []byte, v any) error { return json.Unmarshal(body, v) }
