package passkey

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// algorithms that keys may have, the best first; every authenticator knows one of them.
var algorithms = []protocol.CredentialParameter{
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgEdDSA},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgES256},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgRS256},
}

// newVerifier returns the verifier for a relying party that offers passkeys.
func newVerifier(rp RelyingParty) (*webauthn.WebAuthn, error) {
	limit := webauthn.TimeoutConfig{Timeout: challengeTTL, TimeoutUVD: challengeTTL} // what browsers are told; the database decides
	return webauthn.New(&webauthn.Config{
		RPID: rp.id, RPDisplayName: rp.name, RPOrigins: rp.origins, AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			RequireResidentKey: protocol.ResidentKeyRequired(), ResidentKey: protocol.ResidentKeyRequirementRequired,
			UserVerification: protocol.VerificationRequired,
		},
		Timeouts: webauthn.TimeoutsConfig{Login: limit, Registration: limit},
		// Nothing is asked of extensions, so what one says without being asked is looked at by nobody.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
}

// holder is an account as the verifier wants it.
type holder struct {
	person      Person
	credentials []webauthn.Credential
}

// WebAuthnID implements webauthn.User. The handle is the account's id: it is random enough to tell nothing but when the
// account was made, it stands in every access token, and with it an authenticator keeps one passkey for each account.
func (h holder) WebAuthnID() []byte                         { return h.person.ID[:] }
func (h holder) WebAuthnName() string                       { return h.person.Name }
func (h holder) WebAuthnDisplayName() string                { return h.person.DisplayName }
func (h holder) WebAuthnCredentials() []webauthn.Credential { return h.credentials }

// RegistrationOptions begins the registration of a passkey. Authenticators that hold one of the account are left out.
// Two statements.
func (s *Service) RegistrationOptions(ctx context.Context, b Binding, p Person) (Options, error) {
	if !s.rp.Offered() {
		return Options{}, ErrNotOffered
	}
	known, err := descriptors(ctx, s.db, p.ID)
	if err != nil {
		return Options{}, err
	}
	creation, _, err := s.verifier.BeginRegistration(holder{person: p},
		webauthn.WithCredentialParameters(algorithms), webauthn.WithExclusions(known))
	if err != nil {
		return Options{}, fmt.Errorf("begin registration of passkey: %w", err)
	}
	return s.options(ctx, b, creation.Response.Challenge, creation.Response)
}

// AssertionOptions begins a sign-in. Of a login nobody knows whose it will be; any other is for one account, whose
// passkeys are named. One or two statements.
func (s *Service) AssertionOptions(ctx context.Context, b Binding) (Options, error) {
	if !s.rp.Offered() {
		return Options{}, ErrNotOffered
	}
	var known []protocol.CredentialDescriptor
	if b.user != nil {
		var err error
		if known, err = descriptors(ctx, s.db, *b.user); err != nil {
			return Options{}, err
		}
	}
	assertion, _, err := s.verifier.BeginDiscoverableLogin(webauthn.WithAllowedCredentials(known))
	if err != nil {
		return Options{}, fmt.Errorf("begin assertion of passkey: %w", err)
	}
	return s.options(ctx, b, assertion.Response.Challenge, assertion.Response)
}

// options remembers the challenge and encodes what the browser needs.
func (s *Service) options(ctx context.Context, b Binding, challenge []byte, public any) (Options, error) {
	doc, err := json.Marshal(public)
	if err != nil {
		return Options{}, fmt.Errorf("encode options of passkey: %w", err)
	}
	hash := sha256.Sum256(challenge)
	return Options{doc}, remember(ctx, s.db, b, hash[:])
}

// takeChallenge uses up the challenge that a client signed, at once and whatever becomes of it. False: there is none that
// lives and was made for this. One statement.
func (s *Service) takeChallenge(ctx context.Context, b Binding, challenge string) (bool, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(challenge)
	if err != nil || len(raw) != protocol.ChallengeLength {
		return false, nil //nolint:nilerr // no challenge of ours is written so
	}
	hash := sha256.Sum256(raw)
	return take(ctx, s.db, b, hash[:])
}

// session is a ceremony as the verifier wants it: what was asked for, and of whom.
func (s *Service) session(client protocol.CollectedClientData, user id.ID) webauthn.SessionData {
	out := webauthn.SessionData{
		Challenge: client.Challenge, RelyingPartyID: s.rp.id, UserID: user[:],
		UserVerification: protocol.VerificationRequired, CredParams: algorithms,
	}
	if s.rp.local(client.Origin) {
		out.Origin = client.Origin
	}
	return out
}

// CheckRegistration verifies a credential that a browser has made (PublicKeyCredential.toJSON), and uses up its
// challenge. Whatever is wrong is the same validation fault. One statement.
func (s *Service) CheckRegistration(ctx context.Context, b Binding, p Person, document []byte) (New, error) {
	if !s.rp.Offered() {
		return New{}, ErrNotOffered
	}
	if len(document) > maxDocument {
		return New{}, errRegistration()
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(document)
	if err != nil {
		return New{}, errRegistration() // the client learns which field it is, and no more
	}
	client := parsed.Response.CollectedClientData
	ours, err := s.takeChallenge(ctx, b, client.Challenge)
	if err != nil {
		return New{}, err
	}
	if !ours {
		return New{}, errRegistration()
	}
	c, err := s.verifier.CreateCredential(holder{person: p}, s.session(client, p.ID), parsed)
	if err != nil {
		return New{}, errRegistration() // as above
	}
	n := New{
		credentialID: c.ID, publicKey: c.PublicKey, signCount: c.Authenticator.SignCount, transports: transports(c.Transport),
		backupEligible: c.Flags.BackupEligible, backedUp: c.Flags.BackupState,
	}
	copy(n.aaguid[:], c.Authenticator.AAGUID)
	return n, nil
}

// Assert judges what a passkey signed (PublicKeyCredential.toJSON), and uses up its challenge. It changes nothing else:
// Use does. Two statements.
func (s *Service) Assert(ctx context.Context, b Binding, document []byte) (Judgement, error) {
	if !s.rp.Offered() {
		return Judgement{}, ErrNotOffered
	}
	if len(document) > maxDocument {
		return Judgement{why: "too long"}, nil
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(document)
	if err != nil {
		return Judgement{why: "unreadable"}, nil //nolint:nilerr // a refusal, which is data here
	}
	client := parsed.Response.CollectedClientData
	ours, err := s.takeChallenge(ctx, b, client.Challenge)
	if err != nil {
		return Judgement{}, err
	}
	known, err := find(ctx, s.db, parsed.RawID)
	if postgres.NoRows(err) {
		return Judgement{Asked: ours, why: "unknown credential"}, nil
	}
	if err != nil {
		return Judgement{}, err
	}
	j := Judgement{Passkey: known.Passkey, Asked: ours}
	switch {
	case !ours:
		j.why = "challenge"
		return j, nil
	case b.user != nil && *b.user != known.UserID:
		j.why = "another account's"
		return j, nil
	case b.user == nil && len(parsed.Response.UserHandle) == 0:
		j.why = "no user handle"
		return j, nil
	}
	owner := holder{Person{ID: known.UserID}, []webauthn.Credential{known.credential()}}
	c, err := s.verifier.ValidateLogin(owner, s.session(client, known.UserID), parsed)
	if err != nil {
		j.why = "not verified"
		return j, nil //nolint:nilerr // as above
	}
	j.Outcome, j.count, j.backedUp = Proven, c.Authenticator.SignCount, c.Flags.BackupState
	if c.Authenticator.CloneWarning {
		j.Outcome, j.why = Cloned, "signature counter"
	}
	return j, nil
}

// transports keeps what is a word: the browser passes on what the authenticator says.
func transports(given []protocol.AuthenticatorTransport) []string {
	out := []string{}
	for _, t := range given {
		switch t {
		case protocol.USB, protocol.NFC, protocol.BLE, protocol.SmartCard, protocol.Hybrid, protocol.Internal:
			out = append(out, string(t))
		}
	}
	return out
}
