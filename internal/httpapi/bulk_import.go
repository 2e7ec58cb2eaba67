package httpapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/bulk"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
)

var errLinesMedia = fault.New(fault.UnsupportedMediaType, "unsupported_media_type",
	"Send the lines as application/x-ndjson in UTF-8, without a Content-Encoding.")

// lines routes take NDJSON of any length. The handler reads it from the call.
func (r Route) lines() Route { r.Lines = true; return r }

// linesBody is how the contract shows it.
func linesBody() *huma.RequestBody {
	return &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{mediaNDJSON: {Schema: &huma.Schema{
		Type:        huma.TypeString,
		Description: "One account a line: kind, email, email_verified, password_hash, created_at, roles, display_name, locale, external_id, metadata, app_metadata, profile (the members of PUT /profiles/{user_id}, for callers with profiles:write).",
	}}}}
}

// upload is a body whose reading keeps the request alive.
type upload struct {
	body     io.Reader
	progress *progress
}

// Read implements io.Reader. Whatever ends the body before its end, a stall too, is the client's affair.
func (u *upload) Read(p []byte) (int, error) {
	n, err := u.body.Read(p)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		u.progress.answer()
		return n, errMalformed.WithDetail("The body could not be read to its end.").Because(err)
	case n > 0:
		u.progress.step()
	}
	return n, err
}

// Import is how far an import is.
type Import struct {
	ID         id.ID      `json:"id" format:"uuid"`
	Status     string     `json:"status" enum:"waiting,running,done,failed" doc:"done: every line has been worked. failed: it ended before, see reason."`
	Reason     *string    `json:"reason" nullable:"true" doc:"Why it failed, such as permission_escalation: whoever began it has lost the right."`
	OnConflict string     `json:"on_conflict" enum:"skip,update"`
	DryRun     bool       `json:"dry_run"`
	Total      int64      `json:"total" doc:"Lines that are not blank."`
	Processed  int64      `json:"processed"`
	Created    int64      `json:"created"`
	Updated    int64      `json:"updated"`
	Skipped    int64      `json:"skipped" doc:"They were there already."`
	Failed     int64      `json:"failed" doc:"Lines that were not taken; see GET /users/import/{id}/errors."`
	CreatedAt  timestamp  `json:"created_at"`
	FinishedAt *timestamp `json:"finished_at" nullable:"true"`
}

// ImportError is a line that was not taken. It repeats nothing of the line.
type ImportError struct {
	Line   int64         `json:"line"`
	Code   string        `json:"code"`
	Errors []fault.Field `json:"errors"`
}

func encodeImport(i *bulk.Import) Import {
	return Import{
		ID: i.ID, Status: string(i.Status), Reason: i.Reason, OnConflict: string(i.OnConflict), DryRun: i.DryRun, Total: i.Total,
		Processed: i.Processed, Created: i.Created, Updated: i.Updated, Skipped: i.Skipped, Failed: i.Rejected,
		CreatedAt: timestamp(i.CreatedAt), FinishedAt: stamp(i.FinishedAt),
	}
}

// begunImport is the answer to an upload.
type begunImport = single[Import]

func encodeBegunImport(i *bulk.Import) *begunImport {
	return &begunImport{Location: basePath + "/users/import/" + i.ID.String(), Body: encodeImport(i)}
}

type importInput struct {
	OnConflict string `query:"on_conflict" enum:"skip,update" default:"skip" doc:"What becomes of accounts that are there already, by address or external_id."`
	DryRun     bool   `query:"dry_run" doc:"Each line is tried by itself, and nothing stays."`
}

// importUsers receives all lines before it asks whether this is a repetition: what an Idempotency-Key is bound to is
// known at the end only.
func (s *Server) importUsers(ctx context.Context, by actor.Actor, in *importInput) (*begunImport, error) {
	c := callFrom(ctx)
	sum := sha256.New()
	of, err := s.Imports.Stage(ctx, by, bulk.Options{OnConflict: bulk.OnConflict(in.OnConflict), DryRun: in.DryRun}, io.TeeReader(c.upload, sum))
	if err != nil {
		return nil, err
	}
	c.body = fmt.Appendf(sum.Sum(nil), "%s %t", in.OnConflict, in.DryRun)
	if err := s.takeSlot(c, c.request); err != nil {
		return nil, errors.Join(err, s.Imports.Drop(ctx, of))
	}
	if c.slot != nil && c.slot.replay != nil {
		return s.replayImport(ctx, c, of)
	}
	begun, err := s.Imports.Begin(ctx, by, of, keep(ctx, encodeBegunImport))
	if err != nil {
		if c.slot != nil {
			err = errors.Join(err, c.slot.held.Release(ctx))
		}
		return nil, errors.Join(err, s.Imports.Drop(ctx, of))
	}
	return encodeBegunImport(begun), nil
}

func (s *Server) replayImport(ctx context.Context, c *call, of id.ID) (*begunImport, error) {
	var k kept
	out := &begunImport{}
	err := errors.Join(s.Imports.Drop(ctx, of), json.Unmarshal(c.slot.replay.Content, &k))
	if err == nil {
		err = json.Unmarshal(k.Body, &out.Body)
	}
	c.header.Set("Idempotency-Replayed", "true")
	out.Location = k.Location
	return out, err
}

func (s *Server) getImport(ctx context.Context, by actor.Actor, in *Identified) (*unversioned[Import], error) {
	of, err := in.id()
	if err != nil {
		return nil, err
	}
	i, err := s.Imports.Get(ctx, by, of)
	if err != nil {
		return nil, err
	}
	return &unversioned[Import]{Body: encodeImport(i)}, nil
}

func importErrors() map[string]*huma.Schema {
	return map[string]*huma.Schema{mediaNDJSON: {Type: huma.TypeString, Description: "One object a line: line, code, errors (pointer, code, detail)."}}
}

func (s *Server) exportImportErrors(ctx context.Context, by actor.Actor, in *Identified) (*streamed, error) {
	of, err := in.id()
	if err != nil {
		return nil, err
	}
	if _, err := s.Imports.Get(ctx, by, of); err != nil {
		return nil, err
	}
	return s.streaming(mediaNDJSON, "import-errors.ndjson", func(ctx context.Context, w io.Writer) error {
		for after := int64(0); ; {
			batch, err := s.Imports.Rejections(ctx, by, of, after)
			if err != nil || len(batch) == 0 {
				return err
			}
			var lines []byte
			for _, r := range batch {
				line, err := json.Marshal(ImportError{Line: r.Line, Code: r.Code, Errors: r.Errors})
				if err != nil {
					return fmt.Errorf("encode error of a line: %w", err)
				}
				lines, after = append(append(lines, line...), '\n'), r.Line
			}
			if _, err := w.Write(lines); err != nil {
				return err
			}
		}
	}), nil
}
