package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/user-management-service/ums/internal/platform/token"
)

// scan needs neither configuration nor database: a key's checksum tells it from noise.
func (e *environment) scan() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "scan PATH", Short: "Find API keys of this service in a file or a tree; exit code 1 when there is one",
		Long: "Find API keys of this service in a file or a tree, offline, by their checksum.\n" +
			"Prints file:line and the masked key. Binary files, symbolic links and .git are left out.\n" +
			"Exit code 0: none, 1: found or not readable, 2: wrong call.",
		Example: "  ums scan .\n  ums scan --json src/config.yaml",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("give one path; see %s --help", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			report := reportText
			if asJSON {
				report = reportJSON
			}
			return report(e.stdout, func(found func(foundKey) error) error { return scanTree(cmd.Context(), args[0], found) })
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// foundKey is one line of the report. It never holds the key.
type foundKey struct {
	File        string `json:"file"`
	Line        int    `json:"line"`
	Environment string `json:"environment"`
	Key         string `json:"key"` // masked
	Last4       string `json:"last4"`
}

func reportText(w io.Writer, scan func(func(foundKey) error) error) error {
	n := 0
	err := scan(func(f foundKey) error {
		n++
		_, err := fmt.Fprintf(w, "%s:%d: %s\n", f.File, f.Line, f.Key)
		return err
	})
	return errors.Join(leaks(n), err)
}

// reportJSON writes one document, each finding when it is found: a tree full of keys takes no memory.
func reportJSON(w io.Writer, scan func(func(foundKey) error) error) error {
	enc := jsontext.NewEncoder(w, jsontext.WithIndent("  "))
	begin := []jsontext.Token{jsontext.BeginObject, jsontext.String("keys"), jsontext.BeginArray}
	end := []jsontext.Token{jsontext.EndArray, jsontext.EndObject}
	write := func(tokens []jsontext.Token) error {
		for _, t := range tokens {
			if err := enc.WriteToken(t); err != nil {
				return err
			}
		}
		return nil
	}
	if err := write(begin); err != nil {
		return err
	}
	n := 0
	scanned := scan(func(f foundKey) error {
		n++
		return json.MarshalEncode(enc, f)
	})
	return errors.Join(leaks(n), scanned, write(end))
}

func leaks(n int) error {
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d API keys found; report each by POST /api/v1/api-keys/leaked, which ends it, and make a new one", n)
}

// scanTree goes on behind what it cannot read, and says at the end what that was.
func scanTree(ctx context.Context, root string, found func(foundKey) error) error {
	unread, first := 0, error(nil)
	miss := func(err error) {
		if unread++; first == nil {
			first = err
		}
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && path == root:
			return err
		case err != nil:
			miss(err)
			return nil
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case d.IsDir() || !d.Type().IsRegular():
			return nil
		}
		f, err := os.Open(path) //nolint:gosec // a link that has just taken the file's place is read at worst; the report shows no content
		if err != nil {
			miss(err)
			return nil
		}
		defer func() { _ = f.Close() }()
		var stop error
		err = token.ScanAPIKeys(f, func(k token.FoundAPIKey) {
			if stop == nil {
				stop = found(foundKey{path, k.Line, string(k.Environment), k.Masked, k.Last4})
			}
		})
		if err != nil {
			miss(err)
		}
		return stop
	})
	if err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	if unread > 0 {
		return fmt.Errorf("%d files could not be read, first %w", unread, first)
	}
	return nil
}
