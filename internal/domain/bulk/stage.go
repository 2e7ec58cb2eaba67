package bulk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/user-management-service/ums/internal/domain/account"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/id"
)

// A chunk of lines is sealed and copied at once. It is bounded in bytes as well: memory does not grow with the import.
const (
	chunkLines = 1000
	chunkBytes = 1 << 20
)

const sealPurpose = "import line"

// Stage receives the lines of an import: it copies them, sealed, into the database, a chunk at a time. Blank lines do not
// count. A line that is too long is kept as far as shows that. When reading fails, or the lines are too many, nothing stays;
// what a killed process leaves is swept. Needs users:import.
func (s *Service) Stage(ctx context.Context, by actor.Actor, o Options, lines io.Reader) (id.ID, error) {
	if !by.May(account.ImportPermission) {
		return id.Nil, actor.Denied(account.ImportPermission)
	}
	of := id.New()
	if err := insert(ctx, s.DB, of, by, o); err != nil {
		return id.Nil, err
	}
	total, err := s.receive(ctx, of, lines)
	if err == nil && total == 0 {
		err = errEmpty
	}
	if err != nil {
		return id.Nil, errors.Join(err, drop(context.WithoutCancel(ctx), s.DB, of))
	}
	return of, nil
}

func (s *Service) receive(ctx context.Context, of id.ID, lines io.Reader) (total int64, err error) {
	in := bufio.NewReaderSize(lines, MaxLine+2)
	var chunk []staged
	size := 0
	for {
		text, err := next(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("read import: %w", err)
		}
		ended := err != nil
		if text = bytes.TrimSpace(text); len(text) > 0 {
			if total++; total > s.Limits.Lines {
				return 0, errMany
			}
			chunk = append(chunk, staged{total, s.Ring.Seal(sealPurpose, bound(of, total), text)})
			size += len(text)
		}
		if len(chunk) == chunkLines || size >= chunkBytes || ended {
			if err := stage(ctx, s.DB, of, chunk, total); err != nil {
				return 0, err
			}
			chunk, size = chunk[:0], 0
		}
		if ended {
			return total, nil //nolint:nilerr // the error was the end
		}
	}
}

// next reads a line, of one that is too long its beginning: one byte more than may be. It is valid until the next call.
func next(in *bufio.Reader) ([]byte, error) {
	text, err := in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return text, err
	}
	text = bytes.Clone(text[:MaxLine+1])
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = in.ReadSlice('\n')
	}
	return text, err
}

// bound ties what is sealed to its place.
func bound(of id.ID, line int64) []byte {
	return binary.BigEndian.AppendUint64(of[:], uint64(line)) //nolint:gosec // counted from 1
}
