package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// 0 says that nothing fails, 1 that something does, 2 that it could not look.
func TestDoctor(t *testing.T) {
	t.Parallel()
	p := start(t)
	env := append(p.env, "UMS_PUBLIC_URL="+p.Base())
	out, errs, code := run(t, env, "doctor")
	require.Zero(t, code, "%s%s", out, errs)
	require.Empty(t, errs)
	require.Regexp(t, `(?m)^ok    client address  I see your address as 127\.0\.0\.1: `, out)

	broken := append(env, "UMS_SMTP_URL=smtp://ums:hidden-password@127.0.0.1:1?tls=none", "UMS_PUBLIK_URL=x")
	out, errs, code = run(t, broken, "doctor")
	require.Equal(t, 1, code)
	require.Regexp(t, `^ums: 1 findings of \d+ fail\n$`, errs)
	require.Regexp(t, `(?m)^fail  mail            .*connection refused\n {22}→ `, out)
	require.Contains(t, out, "warn  configuration   UMS_PUBLIK_URL")
	require.NotContains(t, out+errs, "hidden-password")

	out, _, code = run(t, broken, "doctor", "--json")
	require.Equal(t, 1, code)
	var report struct {
		OK       bool
		Findings []struct{ Check, Status, Says, Do string }
	}
	require.NoError(t, json.Unmarshal([]byte(out), &report), out)
	require.False(t, report.OK)
	require.Greater(t, len(report.Findings), 12)

	out, errs, code = run(t, append(env, "UMS_REGISTRATION=maybe"), "doctor")
	require.Equal(t, 2, code)
	require.Empty(t, out)
	oneLine(t, errs, "UMS_REGISTRATION")
}

// A shell completes what there is: commands, flags, and files where a command takes one.
func TestCompletion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script, errs, code := run(t, nil, "completion", "bash")
	require.Zero(t, code, errs)
	file := filepath.Join(dir, "ums.bash")
	require.NoError(t, os.WriteFile(file, []byte(script), 0o600))
	complete := func(words ...string) []string {
		t.Helper()
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = "'" + w + "'"
		}
		// What a terminal does at the key: it sets these variables and calls the function that the script registered.
		program := `source "$1"; PATH=$2:$PATH; COMP_WORDS=(` + strings.Join(quoted, " ") + `); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
			COMP_LINE="${COMP_WORDS[*]}" COMP_POINT=${#COMP_LINE}
			function_=$(complete -p ums); function_=${function_##*-F }; ${function_%% *} ums
			printf '%s\n' "${COMPREPLY[@]}"`
		cmd := exec.CommandContext(t.Context(), "bash", "--norc", "-c", program, "bash", file, filepath.Dir(binary))
		out, err := cmd.Output() // on the other stream bash says that nobody has pressed a key
		require.NoError(t, err, "%s", out)
		var found []string
		for line := range strings.Lines(string(out)) {
			if word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word != "" {
				found = append(found, word)
			}
		}
		return found
	}
	require.ElementsMatch(t, []string{"down", "plan", "status", "up"}, complete("ums", "migrate", ""))
	require.Equal(t, []string{"doctor"}, complete("ums", "doc"))
	require.Contains(t, complete("ums", ""), "restore-finish")
	require.NotContains(t, complete("ums", ""), "seed", "it is hidden")
	require.Contains(t, complete("ums", "keys", "rotate", "--"), "--now")
	require.ElementsMatch(t, []string{"bash", "fish", "zsh"}, complete("ums", "completion", ""))
	require.Empty(t, complete("ums", "migrate", "up", ""), "no files where none is taken")

	for shell, line := range map[string]string{"zsh": "#compdef ums", "fish": "complete -c ums"} {
		out, errs, code := run(t, nil, "completion", shell)
		require.Zero(t, code, errs)
		require.Contains(t, out, line)
		if path, err := exec.LookPath(shell); err == nil { // it is read by the shell itself where there is one
			file := filepath.Join(dir, "ums."+shell)
			require.NoError(t, os.WriteFile(file, []byte(out), 0o600))
			check, err := exec.CommandContext(t.Context(), path, "-n", file).CombinedOutput()
			require.NoError(t, err, "%s", check)
		}
	}
}
