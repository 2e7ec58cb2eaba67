package transfer_test

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/transfer"
)

var update = flag.Bool("update", false, "write the golden files anew")

var at2025 = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// mapped is everything that becomes of a file.
type mapped struct {
	lines     []string
	at        []int64 // where they stand in the file
	rejected  map[int64]string
	did       transfer.Report
	notMapped map[string]int64
}

func readAll(t *testing.T, in io.Reader, m transfer.Mapping, part int64) (all mapped, err error) {
	t.Helper()
	m.Now = at2025
	all.rejected, all.notMapped = map[int64]string{}, map[string]int64{}
	x, err := transfer.NewMapper(in, m, func(r transfer.Rejection) { all.rejected[r.Line] = r.Code })
	if err != nil {
		return all, err
	}
	for x.Part(part) {
		text, err := io.ReadAll(x)
		if err != nil {
			return all, err
		}
		lines := strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")
		for i, line := range lines {
			all.lines, all.at = append(all.lines, strings.TrimSuffix(line, "\n")), append(all.at, x.Line(int64(i+1)))
		}
	}
	all.did = x.Did()
	for _, n := range x.NotMapped() {
		all.notMapped[n.Column] = n.Rows
		require.NotEmpty(t, n.Why)
	}
	return all, nil
}

// Each fixture is written by hand after the format's documentation. What becomes of it, line by line, is the golden file
// beside it.
func TestFilesOfOtherPrograms(t *testing.T) {
	t.Parallel()
	people := transfer.Mapping{From: transfer.CSV, Delimiter: ';', Columns: map[string]string{"E-Mail": "email", "Nachname": "profile.family_name"}}
	for name, c := range map[string]struct {
		file      string
		mapping   transfer.Mapping
		at        []int64
		rejected  map[int64]string
		did       transfer.Report
		notMapped map[string]int64
	}{
		"fastapi-users": {
			"fastapi-users.csv",
			transfer.Mapping{From: transfer.FastAPIUsers},
			[]int64{2, 4, 5},
			map[int64]string{6: "validation_failed", 7: "malformed_line"},
			transfer.Report{Read: 5, Failed: 2},
			map[string]int64{"company": 1, "is_superuser": 1, "hashed_password": 1},
		},
		"fastapi-users-kept": {
			"fastapi-users.csv",
			transfer.Mapping{From: transfer.FastAPIUsers, AssumeVerified: true, KeepOthers: true, SuperuserRole: "admin"},
			[]int64{2, 4, 5},
			map[int64]string{6: "validation_failed", 7: "malformed_line"},
			transfer.Report{Read: 5, Failed: 2},
			map[string]int64{},
		},
		"fastapi-users-json": {
			"fastapi-users.json",
			transfer.Mapping{From: transfer.FastAPIUsers, KeepOthers: true},
			[]int64{2, 3},
			map[int64]string{4: "malformed_line"},
			transfer.Report{Read: 3, Failed: 1},
			map[string]int64{"hashed_password": 1},
		},
		"supabase": {
			"supabase.csv",
			transfer.Mapping{From: transfer.Supabase},
			[]int64{2, 3, 4, 6},
			map[int64]string{},
			transfer.Report{Read: 5, Skipped: 1},
			map[string]int64{"banned_until": 1, "deleted_at": 1, "phone": 1},
		},
		"supabase-json": {
			"supabase.json",
			transfer.Mapping{From: transfer.Supabase},
			[]int64{1, 5},
			map[int64]string{},
			transfer.Report{Read: 2},
			map[string]int64{"identities": 1, "factors": 1},
		},
		"people": {
			"people.csv", people,
			[]int64{2, 3, 4},
			map[int64]string{5: "validation_failed"},
			transfer.Report{Read: 4, Failed: 1},
			map[string]int64{"Notiz": 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join("testdata", c.file))
			require.NoError(t, err)
			got, err := readAll(t, strings.NewReader(string(text)), c.mapping, 1000)
			require.NoError(t, err)
			golden := filepath.Join("testdata", name+".golden.ndjson")
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(strings.Join(got.lines, "\n")+"\n"), 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), strings.Join(got.lines, "\n")+"\n")
			require.Equal(t, []any{c.at, c.rejected, c.did, c.notMapped}, []any{got.at, got.rejected, got.did, got.notMapped})

			// However it is read, and in parts of whatever size, it is the same.
			for _, part := range []int64{1, 2} {
				again, err := readAll(t, iotest.OneByteReader(strings.NewReader(string(text))), c.mapping, part)
				require.NoError(t, err)
				require.Equal(t, got, again)
			}
		})
	}
}

// Lines of this service pass as they are, without blank ones, and one that is too long for an import stays too long.
func TestNativeLinesPass(t *testing.T) {
	t.Parallel()
	long := `{"email": "` + strings.Repeat("x", 3<<20) + `"}`
	got, err := readAll(t, strings.NewReader("\n{\"a\": 1}\r\n  \nno json\n"+long+"\n\n{\"b\": 2}"), transfer.Mapping{From: transfer.Native}, 1000)
	require.NoError(t, err)
	require.Equal(t, []int64{2, 4, 5, 7}, got.at)
	require.Equal(t, []string{`{"a": 1}`, "no json", `{"b": 2}`}, []string{got.lines[0], got.lines[1], got.lines[3]})
	require.Greater(t, len(got.lines[2]), 64<<10)
	require.Less(t, len(got.lines[2]), 65<<10)
	empty, err := readAll(t, strings.NewReader("\n \n"), transfer.Mapping{From: transfer.Native}, 1000)
	require.NoError(t, err)
	require.Empty(t, empty.lines)
}

// endless goes on for ever.
type endless struct{ text string }

func (e endless) Read(p []byte) (int, error) {
	return copy(p, strings.Repeat(e.text, max(1, len(p)/len(e.text)))), nil
}

// A file that is not what it was said to be ends with an error that does not repeat it, and fills no memory.
func TestFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   io.Reader
		from transfer.Format
		says string
	}{
		"a quote that does not close":   {io.MultiReader(strings.NewReader("id,email\n1,\"a\nhush"), endless{"hush\n"}), transfer.CSV, "longer than 4 MiB"},
		"a bracket that does not close": {io.MultiReader(strings.NewReader("[{}, ["), endless{"[1], "}), transfer.Supabase, "longer than 4 MiB"},
		"JSON that breaks":              {strings.NewReader("[{},\n{\"email\": hush}]"), transfer.FastAPIUsers, "from line 2"},
		"JSON that ends":                {strings.NewReader("[{},\n"), transfer.FastAPIUsers, "from line"},
		"no header":                     {strings.NewReader(""), transfer.CSV, "empty"},
		"a column twice":                {strings.NewReader("email,email\n"), transfer.CSV, "two columns"},
		"a format":                      {strings.NewReader(""), "ldap", "no format"},
		"a reader that breaks":          {iotest.ErrReader(io.ErrUnexpectedEOF), transfer.Supabase, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := readAll(t, c.in, transfer.Mapping{From: c.from}, 1000)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "hush")
		})
	}
}

// Whatever a file holds: no panic, each row is a line, left out or refused, and a line is one that an import can read.
func FuzzMapper(f *testing.F) {
	fixtures, err := filepath.Glob("testdata/*")
	require.NoError(f, err)
	for _, name := range fixtures {
		text, err := os.ReadFile(name)
		require.NoError(f, err)
		for n := range transfer.Formats {
			f.Add(text, n)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, n int) {
		m := transfer.Mapping{From: transfer.Formats[uint(n)%uint(len(transfer.Formats))], KeepOthers: n%2 == 0, Now: at2025}
		got, err := readAll(t, bytes.NewReader(text), m, 3)
		if err != nil {
			return
		}
		require.Equal(t, got.did.Read, int64(len(got.lines))+got.did.Failed+got.did.Skipped)
		for i, line := range got.lines {
			require.Positive(t, got.at[i])
			if m.From == transfer.Native {
				continue
			}
			require.NotContains(t, line, "\n")
			require.True(t, jsontext.Value(line).IsValid(), "%q", line)
		}
	})
}
