package mail_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/mail"
)

func TestMailboxKeepsMessagesOverARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data", "mailbox")
	box, err := mail.NewMailbox(dir)
	require.NoError(t, err)
	first, second := message(), message()
	second.Subject = "second"
	require.NoError(t, box.Send(t.Context(), first))
	require.NoError(t, box.Send(t.Context(), second))

	box, err = mail.NewMailbox(dir)
	require.NoError(t, err)
	list, err := box.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, "second", list[0].Subject, "newest first")
	require.Equal(t, first.Text, list[1].Text)
	require.Equal(t, first.HTML, list[1].HTML)
	require.Equal(t, first.ID, list[1].MessageID)

	one, err := box.Get(list[1].ID)
	require.NoError(t, err)
	require.Equal(t, list[1], one)
	_, err = box.Get(id.New())
	require.ErrorIs(t, err, mail.ErrNoMessage)

	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "nothing half-written is left")
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

func TestMailboxIsBounded(t *testing.T) {
	t.Parallel()
	box, err := mail.NewMailbox(t.TempDir())
	require.NoError(t, err)
	for i := range mail.Kept + 3 {
		m := message()
		m.Subject = fmt.Sprint(i)
		require.NoError(t, box.Send(t.Context(), m))
	}
	list, err := box.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, mail.Kept)
	require.Equal(t, fmt.Sprint(mail.Kept+2), list[0].Subject)
	require.Equal(t, "3", list[mail.Kept-1].Subject, "the oldest went")
}

func TestMailboxTakesConcurrentSenders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			box, err := mail.NewMailbox(dir) // as processes do, without a common lock
			require.NoError(t, err)
			require.NoError(t, box.Send(t.Context(), message()))
			_, err = box.List(t.Context())
			require.NoError(t, err)
		})
	}
	wait.Wait()
	box, err := mail.NewMailbox(dir)
	require.NoError(t, err)
	list, err := box.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 8)
}

func TestMailboxIgnoresForeignFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	box, err := mail.NewMailbox(dir)
	require.NoError(t, err)
	for _, name := range []string{".new-1", "notes.txt", "x.json", strings.ReplaceAll(id.New().String(), "-", "") + ".json"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("{"), 0o600))
	}
	list, err := box.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
}
