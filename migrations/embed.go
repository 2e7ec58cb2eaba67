// Package migrations holds the schema's history: goose files, one concern each, never edited after they land.
package migrations

import "embed"

// FS holds every migration.
//
//go:embed *.sql
var FS embed.FS
