package idempotency

import (
	"context"
	"time"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

const (
	// lease is how long a request in flight is the only one. It is longer than any request may take, so it ends only
	// for one that died with its process.
	lease = 15 * time.Second
	// kept is for how long a repeat gets the first answer.
	kept = 24 * time.Hour
	// releaseTimeout bounds giving up a lease; one that is not given up ends by itself.
	releaseTimeout = 2 * time.Second

	purpose = "idempotency" // of the derived keys
)

// The refusals of a repeat.
var (
	ErrReused = fault.New(fault.Invalid, "idempotency_key_reused",
		"This Idempotency-Key was used with another body; take a new key for another request.")
	ErrInProgress = fault.New(fault.Conflict, "idempotency_in_progress",
		"The first request with this Idempotency-Key is still being worked on; repeat it shortly.").WithRetryAfter(time.Second)
)

// errTaken fails the transaction of a request that outlived its lease and lost it to a repeat.
var errTaken = ErrInProgress.Because(errLeaseLost{})

type errLeaseLost struct{}

func (errLeaseLost) Error() string {
	return "the lease of this idempotency key went to another request"
}

// Request is what a client may repeat.
type Request struct {
	Caller string // who asks; another caller's key is another key
	Person id.ID  // the account that asks; Nil: nobody is signed in
	Route  string // method and pattern
	Key    string // the client's
	Body   []byte
}

// Answer is what was answered the first time. Content is the caller's own encoding of it.
type Answer struct {
	Status  int
	Content []byte
	Subject id.ID // the account that it is about; Nil: none
}

// Store keeps answers for 24 hours. Nothing in its table can be read without the master key: keys and bodies are there
// as MACs, since the hash of a body is a password that can be guessed, and answers are sealed, since some show a secret.
// A rotation of the master key therefore forgets the keys from before it.
type Store struct {
	db   postgres.DB
	ring *keyring.Ring
}

// New keeps answers in db, sealed with ring.
func New(db postgres.DB, ring *keyring.Ring) *Store { return &Store{db, ring} }

// Slot is the exclusive right to answer a request. Its owner calls Keep in the transaction of the effect, or Release.
type Slot struct {
	store  *Store
	key    []byte
	aad    []byte
	holder id.ID
	person id.ID
}

// Begin takes the slot of a request that is new, or returns the answer that its first copy got. It refuses with
// ErrReused (422) when the key came with another body, and at once with ErrInProgress (409) while the first copy is at
// work. One statement, which waits for no other request.
func (s *Store) Begin(ctx context.Context, r Request) (*Slot, *Answer, error) {
	key := s.ring.MAC(purpose, []byte(r.Caller), []byte(r.Route), []byte(r.Key))
	slot := &Slot{store: s, key: key, aad: append(key[:len(key):len(key)], r.Caller...), holder: id.New(), person: r.Person}
	found, err := take(ctx, s.db, key, s.ring.MAC(purpose, key, r.Body), slot.holder)
	switch {
	case err != nil:
		return nil, nil, err
	case found.Taken:
		return slot, nil, nil
	case found.Free:
		// Nobody had it a moment ago, and somebody else was quicker.
		return nil, nil, ErrInProgress
	case !s.ring.CheckMAC(purpose, found.Fingerprint, key, r.Body):
		return nil, nil, ErrReused
	case found.Answer == nil:
		return nil, nil, ErrInProgress
	}
	content, err := s.ring.Open(purpose, slot.aad, found.Answer)
	if err != nil {
		return nil, nil, err
	}
	return nil, &Answer{Status: found.Status, Content: content}, nil
}

// Keep stores the answer with tx, the transaction of the effect. It fails, and so must the transaction, when the lease
// has meanwhile gone to a repeat: otherwise the effect would happen twice.
func (s *Slot) Keep(ctx context.Context, tx postgres.Tx, a Answer) error {
	ours, err := keep(ctx, tx, row{
		key: s.key, holder: s.holder, status: a.Status, answer: s.store.ring.Seal(purpose, s.aad, a.Content), caller: s.person, subject: a.Subject,
	})
	if err != nil {
		return err
	}
	if !ours {
		return errTaken
	}
	return nil
}

// Release gives the slot up after a request that had no effect, so that its repeat is tried anew. A kept answer stays,
// also one of a transaction whose outcome the caller does not know. It works after ctx has ended.
func (s *Slot) Release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	return release(ctx, s.store.db, s.key, s.holder)
}

// Sweep deletes what has expired, in small batches. Expired rows count as absent anyway; this is for space.
func (s *Store) Sweep(ctx context.Context) (int64, error) { return sweep(ctx, s.db) }
