package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxAnswers is how many answers about keys are kept; when all places are taken by young ones, a new one is not kept.
const maxAnswers = 4096

var (
	keyForm    = regexp.MustCompile(`^ums_(live|test)_[0-9A-Za-z]{22}_[0-9A-Za-z]{49}$`)
	permission = regexp.MustCompile(`^([a-z][a-z0-9_-]{0,62}:([a-z][a-z0-9_-]{0,62}|\*)|\*)$`)
)

const (
	base62  = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	keySize = 81
	checkAt = keySize - 6
)

// isKey says whether the service could have made the text: its last six characters are the CRC-32 of the others, as
// digits of base 62. It keeps noise from the service.
func isKey(text string) bool {
	if len(text) != keySize || !keyForm.MatchString(text) {
		return false
	}
	sum := crc32.ChecksumIEEE([]byte(text[:checkAt]))
	for i := keySize - 1; i >= checkAt; i-- {
		if text[i] != base62[sum%62] {
			return false
		}
		sum /= 62
	}
	return true
}

// verdict is what the service says of a key.
type verdict struct {
	Valid       bool       `json:"valid"`
	Code        string     `json:"code"`
	KeyID       string     `json:"key_id"`
	UserID      string     `json:"user_id"`
	Scopes      []string   `json:"scopes"`
	Environment string     `json:"environment"`
	ExpiresAt   *time.Time `json:"expires_at"`
	RateLimit   *struct {
		ResetSeconds int64 `json:"reset_seconds"`
	} `json:"rate_limit"`
}

// Key returns whom an API key speaks for, having asked the service whether it is good for all of the permissions when
// presented from the address ip; one that is empty or none opens no key that is bound to networks. The error is a *Refusal: 401 invalid_api_key, 403 ip_denied or
// permission_denied, 429 rate_limited, 503 when the service gives no answer.
func (v *Verifier) Key(ctx context.Context, text, ip string, permissions ...string) (*Principal, error) {
	if v.cfg.APIKey == "" || !isKey(text) {
		return nil, errKey
	}
	if addr, err := netip.ParseAddr(ip); err == nil {
		ip = addr.Unmap().WithZone("").String()
	} else {
		ip = ""
	}
	id := sha256.Sum256([]byte(strings.Join(append([]string{text, ip}, permissions...), "\n")))
	now := v.cfg.Now()
	if p := v.answers.get(id, now); p != nil {
		return p, nil
	}
	said, err := v.ask(ctx, text, ip, permissions)
	if err != nil {
		return nil, err
	}
	switch said.Code {
	case "valid":
	case "ip_denied":
		return nil, errAddress
	case "insufficient_scope":
		return nil, errPermission
	case "rate_limited":
		r := *errLimited
		if said.RateLimit != nil {
			r.RetryAfter = time.Duration(max(said.RateLimit.ResetSeconds, 1)) * time.Second
		}
		return nil, &r
	default:
		return nil, errKey
	}
	p := &Principal{UserID: said.UserID, KeyID: said.KeyID, Environment: said.Environment, Permissions: said.Scopes}
	if !said.Valid || p.UserID == "" || p.KeyID == "" {
		return nil, errKey
	}
	if said.ExpiresAt != nil {
		p.ExpiresAt = *said.ExpiresAt
	}
	if v.cfg.KeyCache > 0 && said.RateLimit == nil {
		v.answers.put(id, p, now, now.Add(v.cfg.KeyCache))
	}
	return p, nil
}

// ask puts one question to the service. Whatever keeps it from an answer, our own key included, is no fault of whoever
// presented the key: 503.
func (v *Verifier) ask(ctx context.Context, text, ip string, permissions []string) (verdict, error) {
	said, retryAfter, err := v.question(ctx, text, ip, permissions)
	if err != nil {
		v.cfg.Logger.ErrorContext(ctx, "API key not verified", "error", err)
		r := *errUnavailable
		r.RetryAfter = max(r.RetryAfter, retryAfter)
		return verdict{}, &r
	}
	return said, nil
}

func (v *Verifier) question(ctx context.Context, text, ip string, permissions []string) (said verdict, retryAfter time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := json.Marshal(struct {
		Key         string   `json:"key"`
		Environment string   `json:"environment,omitempty"`
		Permissions []string `json:"permissions,omitempty"`
		IP          string   `json:"ip,omitempty"`
	}{text, v.cfg.Environment, permissions, ip})
	if err != nil {
		return said, 0, fmt.Errorf("ask about a key: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.base+"/api/v1/api-keys/verify", bytes.NewReader(body))
	if err != nil {
		return said, 0, fmt.Errorf("ask about a key: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-API-Key", v.cfg.APIKey)
	res, err := v.client.Do(req)
	if err != nil {
		return said, 0, fmt.Errorf("ask about a key: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return said, 0, fmt.Errorf("read the answer about a key: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		if seconds, err := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 20); err == nil {
			retryAfter = time.Duration(seconds) * time.Second
		}
		return said, retryAfter, fmt.Errorf("ask about a key: the service answered %d", res.StatusCode)
	}
	if err := json.Unmarshal(answer, &said); err != nil {
		return said, 0, fmt.Errorf("read the answer about a key: %w", err)
	}
	return said, 0, nil
}

// answers keeps good answers about keys, by the SHA-256 of the question.
type answers struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]answer
}

type answer struct {
	principal *Principal
	until     time.Time
}

func (a *answers) get(id [sha256.Size]byte, now time.Time) *Principal {
	a.mu.Lock()
	defer a.mu.Unlock()
	if found, ok := a.known[id]; ok && now.Before(found.until) {
		return found.principal
	}
	return nil
}

func (a *answers) put(id [sha256.Size]byte, p *Principal, now, until time.Time) {
	if !p.ExpiresAt.IsZero() && p.ExpiresAt.Before(until) {
		until = p.ExpiresAt
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known == nil {
		a.known = map[[sha256.Size]byte]answer{}
	}
	if len(a.known) >= maxAnswers {
		for id, old := range a.known {
			if !now.Before(old.until) {
				delete(a.known, id)
			}
		}
	}
	if len(a.known) < maxAnswers {
		a.known[id] = answer{p, until}
	}
}

// askable panics on what is no permission: the program's text is wrong, and it is better told when it starts.
func askable(permissions []string) {
	if i := slices.IndexFunc(permissions, func(p string) bool { return !permission.MatchString(p) }); i >= 0 {
		panic("verify: " + strconv.Quote(permissions[i]) + " is no permission; use one such as orders:read")
	}
}
