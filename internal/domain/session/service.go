package session

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/page"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
	"github.com/user-management-service/ums/internal/platform/token"
)

const sealPurpose = "session-secret"

// Service opens, rotates, lists and ends sessions.
type Service struct {
	db      *postgres.Pool
	ring    *keyring.Ring
	codec   *token.RefreshCodec
	changes actor.Changes
	cfg     Config
}

// NewService works on db; ring seals session secrets and authenticates refresh tokens.
func NewService(db *postgres.Pool, ring *keyring.Ring, changes actor.Changes, cfg Config) *Service {
	return &Service{db: db, ring: ring, codec: token.NewRefreshCodec(ring), changes: changes, cfg: cfg}
}

// New is a sign-in that has just been proven.
type New struct {
	Assurance
	UserID       id.ID
	AuthEpoch    int64
	PasswordHash *string // the one that was verified; nil: no password was
	Rehash       *string // what to put in its place
	DeviceName   string
	Cookie       bool // its refresh tokens are for a cookie only
	Origin       actor.Origin
}

// Opened is a new session, with what its owner must be told.
type Opened struct {
	Grant
	Unfamiliar  bool // the account has signed in before, but never with such a program from there
	DisplayName *string
	Locale      *string
}

// Create opens a session, stamps the account's last sign-in and remembers with which program and from where it was, in one
// statement. It returns false, and has done nothing, when the account is not what it was when the sign-in was proven:
// another hash, another epoch, no longer active, or a second factor where only a first was shown.
func (s *Service) Create(ctx context.Context, tx postgres.Tx, n New) (Opened, bool, error) {
	sessionID, secret := id.New(), token.NewSessionSecret()
	hash := secret.Hash()
	r, err := insert(ctx, tx, s.cfg, newRow{
		New: n, id: sessionID, secretHash: hash[:], secretSealed: s.ring.Seal(sealPurpose, sessionID[:], secret[:]),
		network: network(n.Origin.IP), family: Agent(n.Origin.UserAgent),
		deviceName: clean(n.DeviceName, MaxDeviceName), userAgent: clean(n.Origin.UserAgent, maxUserAgent), ip: address(n.Origin.IP),
	})
	if postgres.NoRows(err) {
		return Opened{}, false, nil
	}
	if err != nil {
		return Opened{}, false, err
	}
	o := Opened{Grant: r.grant(), Unfamiliar: r.Unfamiliar, DisplayName: r.DisplayName, Locale: r.Locale}
	o.RefreshToken = s.codec.Mint(sessionID, secret, 0)
	return o, true, nil
}

// Rotate gives the session's current refresh token its successor and records that, in one statement. It returns false,
// and has done nothing, when the token is not the current one of a living session: Judge says what it is.
// That the token is authentic the codec has decided without the database.
func (s *Service) Rotate(ctx context.Context, by actor.Actor, presented token.Refresh) (Grant, bool, error) {
	r, err := rotate(ctx, s.db, s.cfg, presented, by)
	if postgres.NoRows(err) {
		return Grant{}, false, nil
	}
	if err != nil {
		return Grant{}, false, err
	}
	g := r.grant()
	g.RefreshToken = s.codec.Next(presented)
	return g, true, nil
}

// Judge says what a refresh token is that did not rotate. A Reused session is ended in tx, and its access tokens with it:
// the caller must let tx commit, record it and tell the owner.
func (s *Service) Judge(ctx context.Context, tx postgres.Tx, presented token.Refresh) (Judgement, error) {
	seen, err := inspect(ctx, tx, s.cfg, presented)
	if postgres.NoRows(err) || err == nil && (!seen.Alive || presented.Counter >= seen.Counter) {
		return Judgement{}, nil
	}
	if err != nil {
		return Judgement{}, err
	}
	j := Judgement{Outcome: Repeated, Grant: seen.grant(), DeviceName: seen.DeviceName, UserAgent: seen.UserAgent, Locale: seen.Locale}
	if presented.Counter == seen.Counter-1 && seen.InGrace {
		j.Grant.RefreshToken = s.codec.Next(presented)
		return j, nil
	}
	j.Outcome = Reused
	if _, err := remove(ctx, tx, presented.SessionID, seen.UserID); err != nil {
		return Judgement{}, err
	}
	return j, s.changes.Of(ctx, tx, seen.UserID)
}

// Parse reads a refresh token that this service minted; false costs no read of the database.
func (s *Service) Parse(text string) (token.Refresh, bool) { return s.codec.Parse(text) }

// Reauthenticated stamps the session: its person has just proven himself again, and that is its assurance from now on. The grant has the session's current
// refresh token. fault.ErrNotFound when the session has ended.
func (s *Service) Reauthenticated(ctx context.Context, tx postgres.Tx, by actor.Actor, how Assurance) (Grant, error) {
	r, err := stamp(ctx, tx, by.SessionID, by.UserID, how)
	if postgres.NoRows(err) {
		return Grant{}, fault.ErrNotFound
	}
	if err != nil {
		return Grant{}, err
	}
	plain, err := s.ring.Open(sealPurpose, by.SessionID[:], r.SecretSealed)
	if err != nil || len(plain) != len(token.SessionSecret{}) {
		return Grant{}, fmt.Errorf("open secret of session: %w", err)
	}
	g := r.grant()
	g.RefreshToken = s.codec.Mint(by.SessionID, token.SessionSecret(plain), r.Counter)
	return g, s.changes.Of(ctx, tx, by.UserID)
}

// Filter is a page of a list, newest first unless Ascending.
type Filter struct {
	Limit     int
	Ascending bool
	After     *page.Position
}

// List returns at most f.Limit of the caller's own sessions.
func (s *Service) List(ctx context.Context, by actor.Actor, f Filter) ([]Session, error) {
	return List(ctx, s.db, by.UserID, f)
}

// End ends one of the caller's own sessions; another's is not found, as an unknown one.
func (s *Service) End(ctx context.Context, by actor.Actor, session id.ID) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		ended, err := remove(ctx, tx, session, by.UserID)
		if err != nil {
			return err
		}
		if !ended {
			known, err := exists(ctx, tx, session)
			if err == nil && known {
				err = actor.NotFound()
			} else if err == nil {
				err = fault.ErrNotFound
			}
			return err
		}
		if err := s.changes.Of(ctx, tx, by.UserID); err != nil {
			return err
		}
		return audit.Record(ctx, tx, by, endEvent(session, by.UserID))
	})
}

// EndOthers ends every session of the caller but the current one.
func (s *Service) EndOthers(ctx context.Context, by actor.Actor) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error { return s.EndOthersIn(ctx, tx, by) })
}

// EndOthersIn is EndOthers in the transaction of what makes it necessary.
func (s *Service) EndOthersIn(ctx context.Context, tx postgres.Tx, by actor.Actor) error {
	others, err := removeOthers(ctx, tx, by.UserID, by.SessionID)
	if err != nil || len(others) == 0 {
		return err
	}
	for _, session := range others {
		if err := audit.Record(ctx, tx, by, endEvent(session, by.UserID)); err != nil {
			return err
		}
	}
	return s.changes.Of(ctx, tx, by.UserID)
}

// Alive says whether the caller's session has not ended since he was let in. One statement.
func (s *Service) Alive(ctx context.Context, db postgres.DB, by actor.Actor) (bool, error) {
	return exists(ctx, db, by.SessionID)
}

// EndByToken ends the session that a refresh token belongs to, whichever of its tokens it is. Who holds one may end it;
// there being none is fine. It returns the session's owner, id.Nil when there was nothing to end.
func (s *Service) EndByToken(ctx context.Context, by actor.Actor, presented token.Refresh) (owner id.ID, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		hash := presented.SecretHash()
		var email *string
		owner, email, err = removeByHash(ctx, tx, presented.SessionID, hash[:])
		if postgres.NoRows(err) {
			owner = id.Nil
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.changes.Of(ctx, tx, owner); err != nil {
			return err
		}
		label := ""
		if email != nil {
			label = *email
		}
		return audit.Record(ctx, tx, by.As(owner, label), endEvent(presented.SessionID, owner))
	})
	return owner, err
}

func endEvent(session, owner id.ID) audit.Event {
	return audit.Event{
		Action: "session.end", Outcome: audit.Success, Target: audit.Target{Type: "session", ID: session, Owner: owner},
	}
}

// Sweep deletes sessions that have expired: their rows mean nothing any more.
func (s *Service) Sweep(ctx context.Context) error { return sweep(ctx, s.db) }

// withImplied adds the role that every human account has from activation on.
func withImplied(roles []string) []string {
	roles = append(roles, role.UserName)
	slices.Sort(roles)
	return roles
}

func address(ip netip.Addr) *netip.Addr {
	if !ip.IsValid() {
		return nil
	}
	ip = ip.Unmap().WithZone("")
	return &ip
}

func network(ip netip.Addr) *netip.Prefix {
	n := ratelimit.Network(ip)
	if !n.IsValid() {
		return nil
	}
	return &n
}
