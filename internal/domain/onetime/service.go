package onetime

import (
	"context"
	"crypto/subtle"
	"time"

	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/throttle"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/internal/platform/token"
)

// Outbox enqueues mails in the transaction of what they tell; notify.Service is one.
type Outbox interface {
	Enqueue(ctx context.Context, tx postgres.Tx, m notify.Mail) error
}

// Service makes, finds and uses one-time tokens.
type Service struct {
	db     *postgres.Pool
	ring   *keyring.Ring
	limits *throttle.Limits
	outbox Outbox
}

// NewService works on db; codes are stored under a key of ring, mails are limited by limits and go to outbox.
func NewService(db *postgres.Pool, ring *keyring.Ring, limits *throttle.Limits, outbox Outbox) *Service {
	return &Service{db: db, ring: ring, limits: limits, outbox: outbox}
}

// StartAttempt keeps a registration and mails its token and code, unless three live ones stand already or its address
// has had its mails: then the registration id proves nothing, or nothing yet. The caller tells nobody which of these it
// was. The caller has locked the account's row in an earlier statement of tx, so that the three hold under races. At
// most five statements.
func (s *Service) StartAttempt(ctx context.Context, tx postgres.Tx, a Attempt) (registrationID secret.Text, kept bool, err error) {
	attempt := id.New()
	registrationID, hash := newToken()
	kept, err = insertAttempt(ctx, tx, attempt, a, hash[:])
	if err != nil || !kept {
		return registrationID, false, err
	}
	_, err = s.mailVerification(ctx, tx, a.recipient(), &attempt)
	return registrationID, true, err
}

// StartVerification mails a token for an address that no registration waits for: of an account that an administrator
// made or corrected, or that was active before it was proven. At most four statements.
func (s *Service) StartVerification(ctx context.Context, tx postgres.Tx, r Recipient) error {
	_, err := s.mailVerification(ctx, tx, r, nil)
	return err
}

// VerificationToken makes such a token for a mail of the caller's own.
func (s *Service) VerificationToken(ctx context.Context, tx postgres.Tx, r Recipient) (secret.Text, error) {
	text, hash := newToken()
	return text, insertTokens(ctx, tx, r, nil, newRow{id.New(), purposeVerify, hash[:], VerificationLife.Seconds()})
}

// Resend mails a new token, and says whether it did: for a pending account with the code of the attempt whose
// registration id is given, else of the newest live one, else without; for any other account without. An unknown
// registration id mails nothing. The caller has locked the account's row.
func (s *Service) Resend(ctx context.Context, tx postgres.Tx, r Recipient, pending bool, registrationID string) (bool, error) {
	var attempt *id.ID
	var err error
	switch {
	case !pending:
	case registrationID == "":
		attempt, err = newestAttempt(ctx, tx, r.UserID)
	default:
		hash, ok := token.HashOneTime(registrationID)
		if !ok {
			return false, nil
		}
		if attempt, err = attemptOf(ctx, tx, r.UserID, hash[:]); err == nil && attempt == nil {
			return false, nil
		}
	}
	if err != nil {
		return false, err
	}
	return s.mailVerification(ctx, tx, r, attempt)
}

func (s *Service) mailVerification(ctx context.Context, tx postgres.Tx, r Recipient, attempt *id.ID) (bool, error) {
	if allowed, err := s.mayMail(ctx, tx, r); err != nil || !allowed {
		return false, err
	}
	text, hash := newToken()
	content := notify.VerifyEmail{Name: r.Name, Token: text, Life: VerificationLife, CodeLife: CodeLife}
	rows := []newRow{{id.New(), purposeVerify, hash[:], VerificationLife.Seconds()}}
	if attempt != nil {
		content.Code = token.NewCode()
		rows = append(rows, newRow{id.New(), purposeCode, s.codeHash(*attempt, content.Code.Reveal()), CodeLife.Seconds()})
	}
	if err := insertTokens(ctx, tx, r, attempt, rows...); err != nil {
		return false, err
	}
	err := s.outbox.Enqueue(ctx, tx, notify.Mail{UserID: r.UserID, To: r.Email, Locale: r.Locale, Content: content})
	return err == nil, err
}

func (s *Service) mayMail(ctx context.Context, tx postgres.Tx, r Recipient) (bool, error) {
	if !r.From.IsValid() {
		return true, nil
	}
	return s.limits.AllowMail(ctx, tx, r.EmailNorm, r.From)
}

// Verification finds the token of a verification mail, used ones included: the caller lets those succeed again while
// their result holds. ErrInvalid for everything else.
func (s *Service) Verification(ctx context.Context, text string) (Proof, error) {
	return s.find(ctx, purposeVerify, text)
}

// MailReset mails a link by which the owner of the address chooses a new password; an older one dies. The caller has
// locked the account's row, and asked whether the mail may be sent. At most three statements.
func (s *Service) MailReset(ctx context.Context, tx postgres.Tx, r Recipient) error {
	return s.mailLink(ctx, tx, r, purposeReset, ResetLife, func(token secret.Text) notify.Content {
		return notify.PasswordReset{Name: r.Name, Token: token, Life: ResetLife}
	})
}

// OpenReset finds the token of a reset that has not been used.
func (s *Service) OpenReset(ctx context.Context, text string) (Proof, error) {
	return s.unused(ctx, purposeReset, text)
}

// MailMagicLink mails a link that signs in; an older one dies. As MailReset otherwise.
func (s *Service) MailMagicLink(ctx context.Context, tx postgres.Tx, r Recipient) error {
	return s.mailLink(ctx, tx, r, purposeMagicLink, MagicLinkLife, func(token secret.Text) notify.Content {
		return notify.MagicLink{Name: r.Name, Token: token, Life: MagicLinkLife}
	})
}

// OpenMagicLink finds the token of a magic link that has not been used.
func (s *Service) OpenMagicLink(ctx context.Context, text string) (Proof, error) {
	return s.unused(ctx, purposeMagicLink, text)
}

func (s *Service) mailLink(
	ctx context.Context, tx postgres.Tx, r Recipient, purpose string, life time.Duration, content func(secret.Text) notify.Content,
) error {
	text, hash := newToken()
	if err := insertTokens(ctx, tx, r, nil, newRow{id.New(), purpose, hash[:], life.Seconds()}); err != nil {
		return err
	}
	return s.outbox.Enqueue(ctx, tx, notify.Mail{UserID: r.UserID, To: r.Email, Locale: r.Locale, Content: content(text)})
}

// unused finds a token that has had no effect yet; ErrInvalid for everything else.
func (s *Service) unused(ctx context.Context, purpose, text string) (Proof, error) {
	p, err := s.find(ctx, purpose, text)
	if err == nil && p.Used {
		return Proof{}, ErrInvalid
	}
	return p, err
}

func (s *Service) find(ctx context.Context, purpose, text string) (Proof, error) {
	hash, ok := token.HashOneTime(text)
	if !ok {
		return Proof{}, ErrInvalid
	}
	return byToken(ctx, s.db, purpose, hash[:])
}

// Code finds the code of the attempt with this registration id. The try is counted and committed before the code is
// looked at: of each code five are, however many come at once.
func (s *Service) Code(ctx context.Context, registrationID, code string) (Proof, error) {
	hash, ok := token.HashOneTime(registrationID)
	if !ok {
		return Proof{}, ErrInvalid
	}
	p, codeHash, err := tryCode(ctx, s.db, hash[:])
	if err != nil {
		return Proof{}, err
	}
	if !s.ring.CheckMAC("mail-code", codeHash, p.AttemptID[:], []byte(code)) {
		return Proof{}, ErrInvalid
	}
	return p, nil
}

// Registered says whether the registration id is that of the attempt that the token proves.
func (p Proof) Registered(registrationID string) bool {
	hash, ok := token.HashOneTime(registrationID)
	return ok && p.registrationID != nil && subtle.ConstantTimeCompare(hash[:], p.registrationID) == 1
}

// Consume uses the proof, in the transaction of its effect, and ends every other claim on the account, as EndClaims does.
// ErrInvalid when another transaction was faster or its time is up; tx must then roll back. The caller has changed the
// account's row before. One statement.
func (s *Service) Consume(ctx context.Context, tx postgres.Tx, p Proof) error {
	return consume(ctx, tx, p.TokenID)
}

// Use uses the proof as Consume does, but ends no other claim: it is for a proof that changes nothing of the account.
func (s *Service) Use(ctx context.Context, tx postgres.Tx, p Proof) error {
	return use(ctx, tx, p.TokenID)
}

// Sweep deletes tokens and attempts that have expired.
func (s *Service) Sweep(ctx context.Context) error { return sweep(ctx, s.db) }

func (s *Service) codeHash(attempt id.ID, code string) []byte {
	return s.ring.MAC("mail-code", attempt[:], []byte(code))
}

func newToken() (secret.Text, [32]byte) { return token.NewOneTime() }
