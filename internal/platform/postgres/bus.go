package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/secret"
)

// Bus carries short messages between replicas by LISTEN/NOTIFY. Nothing may depend on their arrival: a subscriber is
// called with an empty message whenever some may have been lost, and must have a bound of its own beside.
type Bus struct {
	log *slog.Logger

	mu          sync.RWMutex
	subscribers map[string][]func(payload string)
}

// NewBus returns a bus that delivers locally; Listen connects it to the other replicas.
func NewBus(log *slog.Logger) *Bus {
	return &Bus{log: log, subscribers: map[string][]func(string){}}
}

// Subscribe calls fn for each message on the channel, and with "" when messages may have been missed. fn must not block.
func (b *Bus) Subscribe(channel string, fn func(payload string)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subscribers[channel] = append(b.subscribers[channel], fn)
}

// Publish sends a message with the commit of tx: to this process before InTx returns, to the others by NOTIFY.
func (b *Bus) Publish(ctx context.Context, tx Tx, channel, payload string) error {
	if _, err := tx.Exec(ctx, "SELECT pg_notify($1, $2)", channel, payload); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	tx.OnCommit(func() { b.deliver(channel, payload) })
	return nil
}

func (b *Bus) deliver(channel, payload string) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, fn := range b.subscribers[channel] {
		fn(payload)
	}
}

func (b *Bus) missed() {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, fns := range b.subscribers {
		for _, fn := range fns {
			fn("")
		}
	}
}

// Listen receives until ctx ends, on a connection of its own that it renews. dsn must not lead through a transaction
// pooler.
func (b *Bus) Listen(ctx context.Context, dsn secret.Text) {
	for ctx.Err() == nil {
		err := b.listen(ctx, dsn)
		b.missed()
		if ctx.Err() != nil {
			return
		}
		b.log.WarnContext(ctx, "listener lost its connection; rights are looked up each second meanwhile", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (b *Bus) listen(ctx context.Context, dsn secret.Text) error {
	cfg, err := pgx.ParseConfig(dsn.Reveal())
	if err != nil {
		return errors.New("parse the direct database URL")
	}
	cfg.ConnectTimeout = acquireTimeout
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect listener: %w", err)
	}
	defer func() {
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), acquireTimeout)
		defer cancel()
		_ = conn.Close(cctx)
	}()
	b.mu.RLock()
	channels := make([]string, 0, len(b.subscribers))
	for c := range b.subscribers {
		channels = append(channels, c)
	}
	b.mu.RUnlock()
	for _, c := range channels {
		if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{c}.Sanitize()); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
	b.missed() // what happened before LISTEN took effect
	for {
		// A connection that died without a word is found by asking it something now and then.
		wctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		n, err := conn.WaitForNotification(wctx)
		cancel()
		switch {
		case err == nil:
			b.deliver(n.Channel, n.Payload)
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			pctx, cancel := context.WithTimeout(ctx, acquireTimeout)
			err := conn.Ping(pctx)
			cancel()
			if err != nil {
				return fmt.Errorf("ping listener: %w", err)
			}
		default:
			return fmt.Errorf("wait for notification: %w", err)
		}
	}
}
