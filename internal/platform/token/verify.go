package token

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/user-management-service/ums/internal/platform/clock"
)

// remembered is how many verified tokens are kept; about 1 KiB each. The least recently used goes first.
const remembered = 8192

// maxDate bounds numeric dates to the year 9999, so that arithmetic on them cannot overflow.
const maxDate = 253402300799

// ErrInvalid is the one error of a bad access token. Clients are told no more; Reason tells metrics and logs.
var ErrInvalid = errors.New("invalid access token")

// invalid is ErrInvalid with its reason: a constant, so that refusing costs no allocation and reasons can label a metric.
type invalid string

const (
	badShape     invalid = "shape"     // too long, not three parts, not canonical base64url
	badHeader    invalid = "header"    // not exactly alg, typ, kid, or another typ
	badKey       invalid = "key"       // unknown or retired key, or an algorithm that is not the key's
	badSignature invalid = "signature" //
	badClaims    invalid = "claims"    // not JSON, a claim missing or of another type
	badIssuer    invalid = "issuer"    // another issuer
	badAudience  invalid = "audience"  // not for this service
	badExpired   invalid = "expired"   // exp is past
	badFuture    invalid = "future"    // iat or nbf is to come
)

func (i invalid) Error() string        { return ErrInvalid.Error() + ": " + string(i) }
func (i invalid) Is(target error) bool { return target == ErrInvalid } // Is compares the target itself

// Reason returns why Verify refused a token, as one word of a small fixed set; empty for any other error.
func Reason(err error) string {
	var i invalid
	errors.As(err, &i)
	return string(i)
}

// Verifier checks access tokens. It is safe for concurrent use.
type Verifier struct {
	keys      *KeySet
	clock     clock.Clock
	issuer    string
	audiences []string
	cache     *lru.Cache[[sha256.Size]byte, verified]
}

// verified is a token whose signature has been paid for. It counts only under the very keys that it was checked with.
type verified struct {
	claims *Claims
	from   time.Time // the later of iat and nbf
	under  *keys
	key    *Key
}

// NewVerifier returns a verifier of tokens that were issued by issuer, for any of the configured audiences.
// It reads the keys at each call.
func NewVerifier(cfg Config, issuer string, keys *KeySet, c clock.Clock) *Verifier {
	cache, err := lru.New[[sha256.Size]byte, verified](remembered)
	if err != nil {
		panic("token: " + err.Error()) // only a size below 1 fails
	}
	return &Verifier{keys: keys, clock: c, issuer: issuer, audiences: cfg.audiences(issuer), cache: cache}
}

// Verify returns the claims of a token that one of our keys signed, for us, and that is valid now. They are shared and
// read-only. Every other text gives an error that is ErrInvalid. A verified token is remembered by the SHA-256 of its
// whole text, so that its signature is checked once; its times and its key's retirement are checked at each call.
//
// Accepted is the compact serialisation alone (RFC 7515, section 7.1) with the header members alg, typ, kid and no
// others, so that jwk, jku, x5u, x5c, crit, b64, zip and cty never mean anything here (RFC 8725, section 3.10).
func (v *Verifier) Verify(text string) (*Claims, error) {
	if len(text) > maxPresented {
		return nil, badShape
	}
	now, current := v.clock.Now(), v.keys.load()
	var buf [1024]byte // keeps the copy of an ordinary token off the heap
	digest := sha256.Sum256(append(buf[:0], text...))
	token, known := v.cache.Get(digest)
	known = known && token.under == current
	if !known {
		var err error
		if token, err = v.authenticate(text, current); err != nil {
			return nil, err
		}
	}
	switch {
	case token.key.retired(now):
		return nil, badKey
	case now.After(token.claims.ExpiresAt.Add(Leeway)):
		return nil, badExpired
	case token.from.After(now.Add(Leeway)):
		return nil, badFuture
	}
	if !known {
		v.cache.Add(digest, token)
	}
	return token.claims, nil
}

// authenticate checks all of a token but the time.
func (v *Verifier) authenticate(text string, current *keys) (verified, error) {
	body, key, err := open(text, current, typed)
	if err != nil {
		return verified{}, err
	}
	var p payload
	if err := json.Unmarshal(body, &p); err != nil || !p.complete() {
		return verified{}, badClaims
	}
	if p.Issuer != v.issuer {
		return verified{}, badIssuer
	}
	if !slices.ContainsFunc(v.audiences, func(ours string) bool { return slices.Contains(p.Audience, ours) }) {
		return verified{}, badAudience
	}
	return verified{claims: p.claims(), from: date(max(p.IssuedAt, p.NotBefore)), under: current, key: key}, nil
}

// open returns the payload of a compact JWS (RFC 7515, section 5.2) whose header is alg, kid and a typ that is allowed,
// and the key of the set that signed it. It knows nothing of claims and times.
func open(text string, current *keys, allowed func(typ string) bool) ([]byte, *Key, error) {
	signed, header, body, signature, ok := split(text)
	if !ok {
		return nil, nil, badShape
	}
	var h struct {
		Alg string `json:"alg"`
		Typ string `json:"typ"`
		Kid string `json:"kid"`
	}
	if err := json.Unmarshal(header, &h, json.RejectUnknownMembers(true)); err != nil || !allowed(h.Typ) {
		return nil, nil, badHeader
	}
	key := current.byID[h.Kid]
	if key == nil || h.Alg != key.Algorithm {
		return nil, nil, badKey
	}
	if err := key.method().Verify(signed, signature, key.Public); err != nil {
		return nil, nil, badSignature
	}
	return body, key, nil
}

// split cuts a compact JWS into its signing input and decoded parts. Each part has exactly one spelling: Go's decoder
// skips CR and LF even when it is strict, hence the look for them.
func split(text string) (signed string, header, body, signature []byte, ok bool) {
	first, last := strings.IndexByte(text, '.'), strings.LastIndexByte(text, '.')
	if first < 0 || first == last || strings.Count(text, ".") != 2 || strings.ContainsAny(text, "\r\n") {
		return "", nil, nil, nil, false
	}
	var errs [3]error
	enc := base64.RawURLEncoding.Strict()
	header, errs[0] = enc.DecodeString(text[:first])
	body, errs[1] = enc.DecodeString(text[first+1 : last])
	signature, errs[2] = enc.DecodeString(text[last+1:])
	return text[:last], header, body, signature, errs == [3]error{}
}

// typed says whether typ names an access token (RFC 9068, section 2.1; RFC 7515, section 4.1.9: "application/" may
// be left out, and media types ignore case).
func typed(name string) bool {
	return strings.EqualFold(name, typ) || strings.EqualFold(name, "application/"+typ)
}

// complete says whether every required claim is there and the dates are dates.
func (p *payload) complete() bool {
	for _, s := range []string{p.Issuer, p.Subject, p.ClientID, p.ID, p.SessionID} {
		if s == "" {
			return false
		}
	}
	for _, d := range []int64{p.IssuedAt, p.ExpiresAt, p.AuthTime} {
		if d <= 0 || d > maxDate {
			return false
		}
	}
	return p.NotBefore >= 0 && p.NotBefore <= maxDate && len(p.Audience) > 0
}

func (p *payload) claims() *Claims {
	return &Claims{
		Issuer: p.Issuer, Subject: p.Subject, Audience: p.Audience, ClientID: p.ClientID, ID: p.ID, SessionID: p.SessionID,
		IssuedAt: date(p.IssuedAt), ExpiresAt: date(p.ExpiresAt), AuthTime: date(p.AuthTime),
		ACR: p.ACR, AMR: p.AMR, Roles: p.Roles, RolesOmitted: p.RolesOmitted,
	}
}

func date(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
