package mail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/user-management-service/ums/internal/platform/id"
)

// Kept bounds the mailbox: older messages go.
const Kept = 500

// ErrNoMessage says that the mailbox has no message of that id.
var ErrNoMessage = errors.New("no such message")

// Stored is a message in the mailbox.
type Stored struct {
	ID        id.ID     `json:"id"`
	To        string    `json:"to"`
	Subject   string    `json:"subject"`
	Text      string    `json:"text"`
	HTML      string    `json:"html"`
	CreatedAt time.Time `json:"created_at"`
	MessageID string    `json:"message_id"`
}

// Mailbox is a Sender for development: it keeps the newest 500 messages as files of a folder, so that they survive a
// restart and no mail server is needed. Messages hold live tokens: files are 0600, the folder 0700.
// It is safe for concurrent use, and several processes may share the folder.
type Mailbox struct {
	dir string
	mu  sync.Mutex // one writer at a time prunes
}

// NewMailbox keeps its messages in dir, which it makes when it is not there.
func NewMailbox(dir string) (*Mailbox, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the mailbox folder: %w", err)
	}
	return &Mailbox{dir: dir}, nil
}

// Send stores m. A reader sees the whole message or none: the file gets its name after it is written.
func (b *Mailbox) Send(_ context.Context, m Message) error {
	if err := m.check(); err != nil {
		return err
	}
	s := Stored{
		ID: id.New(), To: m.To, Subject: m.Subject, Text: m.Text, HTML: m.HTML,
		CreatedAt: time.Now().UTC().Truncate(time.Millisecond), MessageID: m.ID,
	}
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the message: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	tmp, err := os.CreateTemp(b.dir, ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("store the message: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // after the rename there is nothing left to remove
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("store the message: %w", err)
	}
	if err := os.Rename(tmp.Name(), b.path(s.ID)); err != nil {
		return fmt.Errorf("store the message: %w", err)
	}
	return b.prune()
}

// List returns all messages, newest first.
func (b *Mailbox) List(ctx context.Context) ([]Stored, error) {
	ids, err := b.ids()
	if err != nil {
		return nil, err
	}
	messages := make([]Stored, 0, len(ids))
	for _, i := range slices.Backward(ids) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, err := b.Get(i)
		if errors.Is(err, ErrNoMessage) {
			continue // pruned since
		}
		if err != nil {
			return nil, err
		}
		messages = append(messages, s)
	}
	return messages, nil
}

// Get returns one message, or ErrNoMessage.
func (b *Mailbox) Get(i id.ID) (Stored, error) {
	var s Stored
	data, err := os.ReadFile(b.path(i))
	if errors.Is(err, fs.ErrNotExist) {
		return s, ErrNoMessage
	}
	if err != nil {
		return s, fmt.Errorf("read the message: %w", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("decode message %s: %w", i, err)
	}
	return s, nil
}

func (b *Mailbox) path(i id.ID) string { return filepath.Join(b.dir, i.String()+".json") }

// ids lists the stored messages, oldest first: a UUIDv7 sorts by time.
func (b *Mailbox) ids() ([]id.ID, error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, fmt.Errorf("list the mailbox: %w", err)
	}
	var ids []id.ID
	for _, e := range entries {
		name, isMessage := strings.CutSuffix(e.Name(), ".json")
		if i, ok := id.Parse(name); ok && isMessage {
			ids = append(ids, i)
		}
	}
	return ids, nil
}

func (b *Mailbox) prune() error {
	ids, err := b.ids()
	if err != nil {
		return err
	}
	for len(ids) > Kept {
		if err := os.Remove(b.path(ids[0])); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("drop an old message: %w", err)
		}
		ids = ids[1:]
	}
	return nil
}
