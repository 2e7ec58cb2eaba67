package httpapi

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/platform/page"
)

const (
	mediaNDJSON = "application/x-ndjson"
	mediaCSV    = "text/csv"
)

// eventExport are the media types of exported events.
func eventExport() map[string]*huma.Schema {
	return map[string]*huma.Schema{
		mediaNDJSON: {Type: huma.TypeString, Description: "One AuditEvent a line."},
		mediaCSV: {Type: huma.TypeString, Description: "UTF-8 with a header line, one event a line. Control characters are written as \\uXXXX, and a cell" +
			" that a spreadsheet would take for a formula begins with an apostrophe."},
	}
}

type eventExportInput struct {
	Format string `query:"format" enum:"ndjson,csv" default:"ndjson"`
	EventFilter
}

func (s *Server) exportEvents(ctx context.Context, by actor.Actor, in *eventExportInput) (*streamed, error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	f.Limit = audit.ExportBatch
	if err := s.Audit.Export(ctx, by); err != nil {
		return nil, err
	}
	first, err := s.Audit.List(ctx, by, f)
	if err != nil {
		return nil, err
	}
	media, file, begin := mediaNDJSON, "audit-events.ndjson", eventLines
	if in.Format == "csv" {
		media, file, begin = mediaCSV+"; charset=utf-8", "audit-events.csv", eventCells
	}
	return s.streaming(media, file, func(ctx context.Context, w io.Writer) error {
		write := begin(w)
		var err error
		for batch := first; err == nil; batch, err = s.Audit.List(ctx, by, f) {
			if err := write(batch); err != nil {
				return err
			}
			if len(batch) < f.Limit {
				return nil
			}
			last := batch[len(batch)-1]
			f.After = &page.Position{Time: last.Time, ID: last.ID}
		}
		return err
	}), nil
}

// eventLines writes events as NDJSON.
func eventLines(w io.Writer) func([]audit.Recorded) error {
	return func(batch []audit.Recorded) error {
		var lines []byte
		for _, e := range batch {
			line, err := json.Marshal(encodeEvent(e), json.Deterministic(true))
			if err != nil {
				return fmt.Errorf("encode audit event: %w", err)
			}
			lines = append(append(lines, line...), '\n')
		}
		_, err := w.Write(lines)
		return err
	}
}

var eventColumns = []string{
	"id", "time", "action", "outcome", "actor_type", "actor_id", "actor_label", "target_type", "target_id", "target_label",
	"changes", "reason", "ip", "user_agent", "request_id",
}

// eventCells writes events as CSV (RFC 4180), the header first.
func eventCells(w io.Writer) func([]audit.Recorded) error {
	out := csv.NewWriter(w)
	_ = out.Write(eventColumns) // an error is told again when it is flushed
	return func(batch []audit.Recorded) error {
		for _, e := range batch {
			row := []string{
				e.ID.String(), e.Time.UTC().Format(timeLayout), e.Action, string(e.Outcome), string(e.ActorType),
				"", value(e.Label), e.Target.Type, "", e.Target.Label,
				string(e.Changes), value(e.Reason), value(e.IP), value(e.UserAgent), value(e.RequestID),
			}
			if e.ActorID != nil {
				row[5] = e.ActorID.String()
			}
			if e.TargetID != nil {
				row[8] = e.TargetID.String()
			}
			for i := range row {
				row[i] = cell(row[i])
			}
			if err := out.Write(row); err != nil {
				return err
			}
		}
		out.Flush()
		return out.Error()
	}
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// cell is a text as a cell that stays on its line and that no spreadsheet runs: what begins like a formula, also behind
// blanks, or in full width, gets an apostrophe; what a terminal would act upon is escaped.
func cell(s string) string {
	if begin := strings.TrimLeftFunc(s, unicode.IsSpace); begin != "" && strings.ContainsRune("=+-@＝＋－＠", []rune(begin)[0]) || s != "" && strings.ContainsRune("\t\r\n", rune(s[0])) {
		s = "'" + s
	}
	if !strings.ContainsFunc(s, unprintable) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unprintable(r) {
			_, _ = fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// unprintable characters are controls, line and paragraph separators, and what turns the direction of writing.
func unprintable(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) || unicode.Is(unicode.Bidi_Control, r) || r == '\ufeff'
}
