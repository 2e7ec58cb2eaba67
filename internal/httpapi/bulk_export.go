package httpapi

import (
	"context"
	"fmt"
	"io"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/page"
)

// userExport is the media type of exported accounts.
func userExport() map[string]*huma.Schema {
	return map[string]*huma.Schema{
		mediaNDJSON: {Type: huma.TypeString, Description: "One User a line."},
	}
}

type userExportInput struct {
	UserFilter
	Sort string `query:"sort" enum:"created_at,-created_at" default:"-created_at"`
}

func (s *Server) exportUsers(ctx context.Context, by actor.Actor, in *userExportInput) (*streamed, error) {
	sort, err := page.ParseSort(in.Sort, user.DefaultSort, user.DefaultSort.Field)
	if err != nil {
		return nil, err
	}
	f := in.domain()
	f.Sort = sort
	next, err := s.Users.Export(ctx, by, f)
	if err != nil {
		return nil, err
	}
	return s.streaming(mediaNDJSON, "users.ndjson", func(ctx context.Context, w io.Writer) error {
		for {
			batch, err := next(ctx)
			if err != nil || len(batch) == 0 {
				return err
			}
			var lines []byte
			for _, u := range batch {
				line, err := json.Marshal(encodeUser(u))
				if err != nil {
					return fmt.Errorf("encode user: %w", err)
				}
				lines = append(append(lines, line...), '\n')
			}
			if _, err := w.Write(lines); err != nil {
				return err
			}
		}
	}), nil
}
