package docs_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/config"
)

// block is a piece of a page that the tests read: a fenced block, or a comment that begins with a known word.
type block struct {
	page    string // from here, as in ../README.md
	line    int    // of its first line of text
	lang    string // of a fence; of a comment the word
	text    string
	skipped string // why it is not run, or not compared
	answer  *block // what a shell block prints, when the page shows it
}

func (b *block) String() string {
	return fmt.Sprintf("%s:%d", strings.TrimPrefix(b.page, "../"), b.line)
}

func (b *block) shell() bool { return b.lang == "sh" || b.lang == "prepare" }

// update writes the answers that differ into the pages: go test ./docs -run BlocksRun -update
var update = flag.Bool("update", false, "write the answers of shell blocks into the pages, and the generated tables")

var (
	comment = regexp.MustCompile(`^ *<!-- (after|service|prepare|not run|not compared)(?::|$)`)
	fence   = regexp.MustCompile("^( *)(```+|~~~+)([a-z]*)$")
)

// blocks reads a page. A comment on lines of its own speaks to the runner:
//
//	<!-- after: ../README.md -->        the blocks of that page run first, in the same shell, on the same service
//	<!-- service: NAME=value … -->      the service of this page runs with these variables
//	<!-- prepare: … -->                 shell that readers do not see
//	<!-- not run: reason -->            the next block is not run
//	<!-- not compared: reason -->       the next block is not held against what the one before it prints
func blocks(page, text string) (found []*block, err error) {
	var open *block
	var end, indent string
	var skip *block
	for i, line := range strings.Split(text, "\n") {
		if open != nil {
			if end == "-->" && strings.HasSuffix(line, end) || end != "-->" && strings.TrimSpace(line) == end {
				if end == "-->" {
					open.text += strings.TrimSuffix(line, end)
				}
				open.text = strings.TrimSpace(open.text)
				open = nil
				continue
			}
			open.text += strings.TrimPrefix(line, indent) + "\n"
			continue
		}
		if m := comment.FindStringSubmatch(line); m != nil {
			rest := strings.TrimPrefix(line, m[0])
			b := &block{page: page, line: i + 1, lang: m[1]}
			found = append(found, b)
			if text, whole := strings.CutSuffix(rest, "-->"); whole {
				b.text = strings.TrimSpace(text)
			} else {
				b.text, open, end, indent = rest+"\n", b, "-->", ""
			}
			if strings.HasPrefix(b.lang, "not ") {
				if open != nil {
					return nil, fmt.Errorf("%s: a reason is one line", b)
				}
				if len(strings.Fields(b.text)) < 3 {
					return nil, fmt.Errorf("%s: say why it is %s, in some words", b, b.lang)
				}
				skip = b
			}
			continue
		}
		m := fence.FindStringSubmatch(line)
		if m == nil {
			if strings.TrimSpace(line) != "" {
				if skip != nil {
					return nil, fmt.Errorf("%s: no block follows", skip)
				}
				found = append(found, nil) // prose: what comes after it answers nothing
			}
			continue
		}
		open, indent, end = &block{page: page, line: i + 2, lang: m[3]}, m[1], m[2]
		switch open.lang {
		case "":
			return nil, fmt.Errorf("%s: name the language of the block: sh, text, json, …", open)
		case "bash", "shell", "console", "zsh":
			return nil, fmt.Errorf("%s: a block that is run is called sh, what it prints is a block of its own", open)
		default:
		}
		if skip != nil {
			open.skipped, skip = skip.text, nil
		}
		found = append(found, open)
	}
	if open != nil {
		return nil, fmt.Errorf("%s: does not end", open)
	}
	if skip != nil {
		return nil, fmt.Errorf("%s: no block follows", skip)
	}
	return joined(found), nil
}

// rewrite puts what came in the place of an answer: tokens cut, no line for what curl prints to itself.
func (b *block) rewrite(t *testing.T, came string) {
	t.Helper()
	rewriting.Lock()
	defer rewriting.Unlock()
	came = strings.TrimSpace(strings.ReplaceAll(came, "\r", ""))
	came = regexp.MustCompile(`([A-Za-z0-9_-]{16})[A-Za-z0-9_-]{24,}(\.[A-Za-z0-9_-]+)*`).ReplaceAllString(came, "$1…")
	text := read(t, b.page)
	require.Equal(t, 1, strings.Count(text, "\n"+b.text+"\n```"), "%s: the answer to rewrite is there more than once", b)
	require.NoError(t, os.WriteFile(b.page, []byte(strings.Replace(text, "\n"+b.text+"\n```", "\n"+came+"\n```", 1)), 0o644))
	b.text = came
}

var rewriting sync.Mutex

// joined gives shell blocks their answers: a block of text or json that follows with no word between.
func joined(found []*block) (kept []*block) {
	var before *block
	for _, b := range found {
		switch {
		case b == nil:
			before = nil
			continue
		case b.lang == "sh":
			before = b
		case before != nil && (b.lang == "json" || b.lang == "text"):
			before.answer, before = b, nil
		case b.lang != "not compared":
			before = nil
		}
		kept = append(kept, b)
	}
	return kept
}

// TestBlocksRun runs the shell blocks of every page as a reader does: one after the other in one shell, against a service
// that has just been started. What a page shows as the answer is held against what came.
func TestBlocksRun(t *testing.T) {
	t.Parallel()
	skipped := 0
	for _, page := range pages(t) {
		name := strings.ReplaceAll(strings.TrimPrefix(page, "../"), "/", "_")
		found, err := blocks(page, read(t, page))
		if err != nil {
			t.Run(name, func(t *testing.T) { require.NoError(t, err) })
			continue
		}
		own := 0
		for _, b := range found {
			switch {
			case b.lang == "sh" && b.skipped != "":
				skipped++
				t.Logf("%s is not run: %s", b, b.skipped)
			case b.lang == "sh":
				own++
			default:
			}
		}
		if own > 0 {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				run(t, page)
			})
		}
	}
	t.Logf("%d shell blocks are not run", skipped)
	require.LessOrEqual(t, skipped, mostSkipped, "too many blocks are not run: make them such that they can be, or raise this with a reason")
}

// mostSkipped is how many shell blocks may be marked as not run, over all pages.
const mostSkipped = 24

// chain returns the blocks of a page, those of the page that it goes on from first.
func chain(t *testing.T, page string, over []string) []*block {
	t.Helper()
	require.NotContains(t, over, page, "pages go on from each other")
	found, err := blocks(page, read(t, page))
	require.NoError(t, err)
	for _, b := range found {
		if b.lang == "after" {
			before := filepath.Join(filepath.Dir(page), b.text)
			_, err := os.Stat(before)
			require.NoError(t, err, "%s", b)
			return append(chain(t, before, append(over, page)), found...)
		}
	}
	return found
}

func TestBlocksAreRead(t *testing.T) {
	t.Parallel()
	page := strings.ReplaceAll("# A\n<!-- after: x.md -->\n<!-- prepare:\nA=1\n-->\n\n'''sh\necho $A\n'''\n\n'''text\n1\n'''\n\n"+
		"- in a list:\n\n  <!-- not run: needs a cluster -->\n  '''sh\n  exit\n  '''\n", "'''", "```")
	found, err := blocks("p.md", page)
	require.NoError(t, err)
	require.Len(t, found, 6)
	require.Equal(t, block{page: "p.md", line: 19, lang: "sh", text: "exit", skipped: "needs a cluster"}, *found[5])
	require.Equal(t, "after", found[0].lang)
	require.Equal(t, "x.md", found[0].text)
	require.Equal(t, block{page: "p.md", line: 3, lang: "prepare", text: "A=1"}, *found[1])
	require.Equal(t, "echo $A", found[2].text)
	require.Equal(t, "1", found[2].answer.text)
	require.Equal(t, "p.md:8", found[2].String())

	for _, c := range []struct{ page, fault string }{
		{"```\nx\n```", "name the language"},
		{"```console\n$ x\n```", "is called sh"},
		{"```sh\nx", "does not end"},
		{"<!-- not run: -->\n```sh\nx\n```", "say why"},
		{"<!-- not run: because -->\n```sh\nx\n```", "say why"},
		{"<!-- not run: needs a cluster -->", "no block follows"},
		{"<!-- not run: needs a cluster -->\nAnd then:\n```sh\nx\n```", "no block follows"},
	} {
		_, err := blocks("p.md", c.page)
		require.ErrorContains(t, err, c.fault, c.page)
	}
	found, err = blocks("p.md", "<!-- not run: needs a cluster -->\n```sh\nx\n```")
	require.NoError(t, err)
	require.Equal(t, "needs a cluster", found[1].skipped)
	found, err = blocks("p.md", "```sh\nx\n```\nSome words.\n```text\ny\n```")
	require.NoError(t, err)
	require.Nil(t, found[0].answer)
}

// TestVariablesOfExamplesAreKnown reads the environment files on the pages: each UMS_ variable in them is one that the
// service, or its tests, read.
func TestVariablesOfExamplesAreKnown(t *testing.T) {
	t.Parallel()
	assignment := regexp.MustCompile(`(?m)^(?:Environment=)?(UMS_[A-Z0-9_]+)=`)
	known := config.Names()
	for _, page := range pages(t) {
		found, err := blocks(page, read(t, page))
		require.NoError(t, err)
		for _, b := range found {
			if b.lang != "ini" {
				continue
			}
			for _, m := range assignment.FindAllStringSubmatch(b.text, -1) {
				require.Contains(t, known, strings.TrimSuffix(m[1], "_FILE"), "%s", b)
			}
		}
	}
}
