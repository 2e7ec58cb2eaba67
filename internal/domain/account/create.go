package account

import (
	"context"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/idempotency"
	"github.com/user-management-service/ums/internal/platform/patch"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// New is an account to be made by somebody else than its owner.
type New struct {
	Kind          user.Kind   // "": a human
	Email         string      // of humans only
	Password      secret.Text // empty: none yet
	SendInvite    bool        // a human gets an invitation instead of a verification mail, and chooses the password
	EmailVerified bool        // the caller vouches for the address: the account is active at once
	Roles         []string    // names
	DisplayName   *string
	Locale        *string
	ExternalID    *string
	Metadata      jsontext.Value // nil: {}
	AppMetadata   jsontext.Value // nil: {}
}

// Create makes an account. Needs users:write, and for roles a session and roles:assign.
//
// A service account is active at once. A human whose address is vouched for is active at once, with the password as
// his own; any other is pending and gets a verification mail: a password is then an attempt like any other's, which
// the mail proves. With an invitation there is neither password nor verification mail. The faults: validation, user.ErrEmailTaken, user.ErrExternalID, role's.
func (s *Service) Create(ctx context.Context, by actor.Actor, n New, keep idempotency.Keep[*user.User]) (*user.User, error) {
	if !by.May(user.WritePermission) {
		return nil, actor.Denied(user.WritePermission)
	}
	draft, err := s.draft(n)
	if err != nil {
		return nil, err
	}
	var hash *string
	if !n.Password.Empty() {
		h, err := s.Hasher.Hash(ctx, n.Password)
		if err != nil {
			return nil, err
		}
		hash = &h
	}
	if draft.Status == user.Active {
		draft.PasswordHash = hash
	}
	var made *user.User
	err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		of, err := user.Insert(ctx, tx, draft)
		if err != nil {
			return err
		}
		if err := s.Authorizer.GrantNames(ctx, tx, by, of, "/roles", n.Roles); err != nil {
			return err
		}
		if draft.Status == user.Pending && !n.SendInvite {
			if err := s.askToVerify(ctx, tx, of, draft, hash); err != nil {
				return err
			}
		}
		if made, err = user.FindOne(ctx, tx, of); err != nil {
			return err
		}
		if err := audit.Record(ctx, tx, by, Creation(made)); err != nil {
			return err
		}
		if n.SendInvite {
			if err := s.invite(ctx, tx, by, made); err != nil {
				return err
			}
		}
		return keep.Do(ctx, tx, made)
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// Creation is the event of an account that was made.
func Creation(u *user.User) audit.Event {
	changes := map[string]audit.Change{
		"kind": {To: u.Kind}, "status": {To: u.Status}, "roles": {To: u.Roles}, "email_verified": {To: u.EmailVerified},
	}
	for name, value := range map[string]*string{
		"email": u.Email, "display_name": u.DisplayName, "locale": u.Locale, "external_id": u.ExternalID,
	} {
		if value != nil {
			changes[name] = audit.Change{To: *value}
		}
	}
	user.ObjectChange(changes, "metadata", jsontext.Value("{}"), u.Metadata)
	user.ObjectChange(changes, "app_metadata", jsontext.Value("{}"), u.AppMetadata)
	return audit.Event{Action: "user.create", Outcome: audit.Success, Target: u.Target(), Changes: changes}
}

// askToVerify mails the proof of the address. The administrator who makes the account is no stranger: no limit of mails
// holds for it.
func (s *Service) askToVerify(ctx context.Context, tx postgres.Tx, of id.ID, d user.Draft, hash *string) error {
	if hash != nil {
		_, _, err := s.Proofs.StartAttempt(ctx, tx, onetime.Attempt{
			UserID: of, Email: d.Email, EmailNorm: d.EmailNorm, AuthEpoch: user.FirstEpoch, PasswordHash: *hash,
			DisplayName: d.DisplayName, Locale: d.Locale,
		})
		return err
	}
	return s.Proofs.StartVerification(ctx, tx, onetime.Recipient{
		UserID: of, Email: d.Email, EmailNorm: d.EmailNorm, AuthEpoch: user.FirstEpoch,
		Name: orEmpty(d.DisplayName), Locale: orEmpty(d.Locale),
	})
}

// Check returns what is wrong with the values of a new account, all of it, or nil. It asks no database.
func (s *Service) Check(n New) error {
	_, err := s.draft(n)
	return err
}

// draft checks everything that needs no database, all in one answer.
func (s *Service) draft(n New) (user.Draft, error) {
	var v fault.Validation
	d := user.Draft{Kind: n.Kind, DisplayName: n.DisplayName, ExternalID: n.ExternalID, Status: user.Active}
	if n.DisplayName != nil {
		user.CheckDisplayName(&v, "/display_name", *n.DisplayName)
	}
	if n.ExternalID != nil {
		user.CheckExternalID(&v, "/external_id", *n.ExternalID)
	}
	if n.Locale != nil {
		locale := user.ParseLocale(&v, "/locale", *n.Locale)
		d.Locale = &locale
	}
	if n.Metadata != nil {
		d.Metadata = user.MergeObject(&v, "/metadata", nil, patch.To(n.Metadata))
	}
	if n.AppMetadata != nil {
		d.AppMetadata = user.MergeObject(&v, "/app_metadata", nil, patch.To(n.AppMetadata))
	}
	switch n.Kind {
	case "", user.Human:
		d.Kind = user.Human
		s.human(&v, n, &d)
	case user.Program:
		program(&v, n)
	default:
		v.Add("/kind", "not_allowed", "Give human or service.")
	}
	return d, v.Err()
}

func (s *Service) human(v *fault.Validation, n New, d *user.Draft) {
	email, norm, err := user.ParseEmail(n.Email)
	switch f := fault.As(err); {
	case n.Email == "":
		v.Add("/email", "required", "A human needs an address.")
	case f != nil:
		v.Add("/email", f.Fields[0].Code, f.Fields[0].Detail)
	}
	d.Email, d.EmailNorm, d.EmailVerified = email, norm, n.EmailVerified
	if !n.EmailVerified {
		d.Status = user.Pending
	}
	if n.SendInvite && n.EmailVerified {
		v.Add("/send_invite", "invalid_combination", "An address that you vouch for makes the account active; an invitation is for a pending one.")
	}
	if n.SendInvite && !n.Password.Empty() {
		v.Add("/password", "invalid_combination", "Whoever accepts the invitation chooses the password.")
	}
	if !n.Password.Empty() {
		for _, p := range s.Policy.Check(n.Password, s.Product, n.Email, orEmpty(n.DisplayName)) {
			v.Add("/password", p.Code, p.Detail)
		}
	}
}

func program(v *fault.Validation, n New) {
	const detail = "A service account has none: it works with API keys alone."
	if n.Email != "" {
		v.Add("/email", "not_allowed", detail)
	}
	if !n.Password.Empty() {
		v.Add("/password", "not_allowed", detail)
	}
	if n.EmailVerified {
		v.Add("/email_verified", "not_allowed", detail)
	}
	if n.SendInvite {
		v.Add("/send_invite", "not_allowed", detail)
	}
	if n.DisplayName == nil {
		v.Add("/display_name", "required", "A service account needs a name.")
	}
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
