package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"github.com/user-management-service/ums/internal/platform/fault"
)

// The SQLSTATEs that mean something to us; appendix A of PostgreSQL's manual.
const (
	codeForeignKey     = "23503"
	codeUnique         = "23505"
	codeCheck          = "23514"
	codeReadOnly       = "25006"
	codeSerialization  = "40001"
	codeDeadlock       = "40P01"
	codeNoPrivilege    = "42501"
	codeLockTimeout    = "55P03"
	codeQueryCanceled  = "57014"
	codeAdminShutdown  = "57P01"
	codeStalePlan      = "0A000"
	codeTooManyClients = "53300"
)

// What a client is told when the database cannot serve.
var (
	ErrUnavailable = fault.New(fault.Unavailable, "unavailable",
		"The service cannot reach its database; try again shortly.").WithRetryAfter(time.Second)
	ErrOutcomeUnknown = fault.New(fault.Unavailable, "outcome_unknown",
		"The connection was lost while the change was being committed; read the resource, or repeat the request with the same Idempotency-Key.").WithRetryAfter(time.Second)
)

// Code returns the SQLSTATE of err, or "".
func Code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// Constraint returns the name of the constraint that err violates, or "". Repositories map names to domain errors.
func Constraint(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) && (e.Code == codeUnique || e.Code == codeForeignKey || e.Code == codeCheck) {
		return e.ConstraintName
	}
	return ""
}

// NoRows says whether err is the absence of a row.
func NoRows(err error) bool { return errors.Is(err, pgx.ErrNoRows) }

func retriable(err error) bool {
	if errors.Is(err, ErrOutcomeUnknown) {
		return false
	}
	switch Code(err) {
	case codeSerialization, codeDeadlock:
		return true
	case "":
		var wait *acquireError
		return !errors.As(err, &wait) && pgconn.SafeToRetry(err)
	}
	return stalePlan(err)
}

// stalePlan recognises a cached plan that a migration beside us invalidated; the statement did not run.
func stalePlan(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == codeStalePlan && strings.Contains(e.Routine, "RevalidateCachedQuery")
}

// Classify returns the fault that a client sees for an error of the database, or nil when the error is none of
// availability: those are ours, and internal.
func Classify(err error) *fault.Error {
	var wait *acquireError
	var connect *pgconn.ConnectError
	var netErr net.Error
	switch code := Code(err); {
	case code == codeLockTimeout, code == codeQueryCanceled, code == codeReadOnly, code == codeTooManyClients,
		code == codeSerialization, code == codeDeadlock,
		strings.HasPrefix(code, "57P"), strings.HasPrefix(code, "08"), strings.HasPrefix(code, "53"):
		return ErrUnavailable.Because(err)
	case code != "":
		return nil
	case errors.As(err, &wait), errors.As(err, &connect), errors.As(err, &netErr),
		errors.Is(err, net.ErrClosed), pgconn.Timeout(err), pgconn.SafeToRetry(err), connectionLost(err),
		errors.Is(err, context.DeadlineExceeded):
		return ErrUnavailable.Because(err)
	}
	return nil
}

// connectionLost recognises a server that went away in the middle of an exchange.
func connectionLost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, pgconn.ErrConnClosed) || errors.Is(err, puddle.ErrClosedPool)
}
