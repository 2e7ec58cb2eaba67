// Package idempotency lets a client repeat a request whose answer it lost: the effect happens once, and the repeats get
// the first answer. The record is a row in the database, so any replica serves any repeat.
package idempotency

import (
	"context"

	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Keep stores the answer to a request that may be repeated, in the transaction of its effect. A creating service takes
// one and calls Do last in its transaction, so that effect and answer are there together or not at all. The service
// knows its result; how that becomes an answer is the caller's business. Nil keeps nothing.
type Keep[T any] func(ctx context.Context, tx postgres.Tx, result T) error

// Do keeps the result; its error must fail the transaction.
func (k Keep[T]) Do(ctx context.Context, tx postgres.Tx, result T) error {
	if k == nil {
		return nil
	}
	return k(ctx, tx, result)
}
