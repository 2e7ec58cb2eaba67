package mfa

import (
	"context"
	"encoding/base32"
	"strings"
	"time"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/internal/platform/text"
)

// CarriedFactor is an activated factor on its way from one service to another, its secret open: the other has another
// master key.
type CarriedFactor struct {
	UserID      id.ID
	Name        *string
	Secret      secret.Text // base32
	LastStep    int64
	CreatedAt   time.Time
	ActivatedAt time.Time
	LastUsedAt  *time.Time
}

// CarriedCode is the hash of a recovery code that is on its way.
type CarriedCode struct {
	UserID id.ID
	Hash   []byte
}

// Check records what is wrong with a factor that comes in.
func (f *CarriedFactor) Check(v *fault.Validation, pointer string) {
	if f.Name != nil {
		text.Line(v, pointer+"/name", *f.Name, MaxName)
	}
	if raw, ok := rawSecret(f.Secret); !ok || len(raw) < 10 || len(raw) > 64 {
		v.Add(pointer+"/secret", "invalid_format", "Give the secret in base32, 10 to 64 bytes.")
	}
	if f.LastStep < 0 {
		v.Add(pointer+"/last_step", "out_of_range", "Give the time step of the newest code that was used, or 0.")
	}
}

// CheckCode records that this is no hash of a recovery code.
func CheckCode(v *fault.Validation, pointer string, hash []byte) {
	if len(hash) != 32 {
		v.Add(pointer, "invalid_format", "Give a SHA-256 in base64.")
	}
}

func rawSecret(s secret.Text) ([]byte, bool) {
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(s.Reveal(), "="))
	return raw, err == nil
}

// Carry returns the activated factors, opened, and the recovery codes of these accounts, in their order. It is for the
// service itself.
func (s *Service) Carry(ctx context.Context, db postgres.DB, accounts []id.ID) ([]CarriedFactor, []CarriedCode, error) {
	found, err := carriedFactors(ctx, db, accounts)
	if err != nil {
		return nil, nil, err
	}
	factors := make([]CarriedFactor, len(found))
	for i, f := range found {
		raw, err := s.ring.Open(sealPurpose, bound(f.UserID, f.id), f.sealed)
		if err != nil {
			return nil, nil, err
		}
		factors[i] = f.CarriedFactor
		factors[i].Secret = secret.New(base32Secret(raw))
	}
	codes, err := carriedCodes(ctx, db, accounts)
	return factors, codes, err
}

// Restore gives factors and recovery codes, checked ones, to accounts that have just been made, sealed under this service's
// master key. What Check refuses must not come here.
func (s *Service) Restore(ctx context.Context, tx postgres.Tx, factors []CarriedFactor, codes []CarriedCode) error {
	sealed := make([]sealedFactor, len(factors))
	for i, f := range factors {
		raw, _ := rawSecret(f.Secret)
		sealed[i] = sealedFactor{CarriedFactor: f, id: id.New()}
		sealed[i].sealed = s.ring.Seal(sealPurpose, bound(f.UserID, sealed[i].id), raw)
	}
	return restore(ctx, tx, sealed, codes)
}
