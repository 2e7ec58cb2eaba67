// Package verify lets other services accept what the User Management Service issues: access tokens, which are checked by
// the published keys without a call, and API keys, about which it asks. It needs nothing but the standard library.
//
//	v, err := verify.New(verify.Config{URL: "https://ums.example.com", Audience: "orders", APIKey: os.Getenv("UMS_API_KEY")})
//	mux.Handle("GET /orders", v.Require("orders:read")(orders))
//
// A verified access token says who its bearer is until it expires, five minutes unless configured: a session that was
// ended meanwhile is not noticed. Whoever needs that asks POST /api/v1/auth/introspect.
package verify

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	askTimeout  = 3 * time.Second // for one answer of the service
	maxKeyCache = time.Second     // how stale the service's own answers about keys may be
	maxAnswer   = 1 << 18         // bytes of an answer that are read
)

// Config says whose tokens and keys are accepted.
type Config struct {
	// URL is where the service is reached, without /api/v1.
	URL string
	// Issuer is the iss of its tokens, the service's UMS_PUBLIC_URL; empty = URL.
	Issuer string
	// Audience is the name of this program in UMS_TOKEN_AUDIENCES; empty = the issuer, for whom tokens are when that is not set.
	Audience string

	// APIKey is this program's own key with the scope api_keys:verify. Empty: API keys are refused.
	APIKey string
	// Environment is live or test when only keys of the one are accepted; empty: both.
	Environment string
	// KeyCache is how long a good answer about a key is used again, 1s at most; 0 = it is asked anew each time.
	// An answer about a key with a limit of its own is never used twice, since each use counts.
	KeyCache time.Duration

	// RolePermissions are the permissions that a role's name in an access token stands for here, such as orders:read,
	// orders:* or *. A token names roles only; for API keys the service says the permissions itself.
	RolePermissions map[string][]string

	// ClientIP is the address that keys which are bound to networks are held against; nil = that of the connection.
	// Behind a proxy it has to read what the proxy says, and only that.
	ClientIP func(*http.Request) string
	// Client sends the questions; nil = one with a timeout of 3s. Redirects are never followed.
	Client *http.Client
	// Logger is told why something could not be verified; nil = nobody is. Credentials are never logged.
	Logger *slog.Logger
	// Now is the time; nil = time.Now.
	Now func() time.Time
}

// Verifier checks credentials. It is safe for concurrent use.
type Verifier struct {
	cfg     Config
	base    string
	client  *http.Client
	keys    keySet
	answers answers
}

// New returns a verifier. It asks the service nothing before the first credential, so it can start first.
func New(cfg Config) (*Verifier, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("verify: URL has to be that of the service, such as https://ums.example.com")
	}
	base := strings.TrimRight(cfg.URL, "/")
	if cfg.Environment != "" && cfg.Environment != "live" && cfg.Environment != "test" {
		return nil, errors.New("verify: Environment has to be live, test or empty")
	}
	if cfg.KeyCache < 0 || cfg.KeyCache > maxKeyCache {
		return nil, errors.New("verify: KeyCache has to be 0 to 1s")
	}
	if cfg.Issuer == "" {
		cfg.Issuer = base
	}
	if cfg.Audience == "" {
		cfg.Audience = cfg.Issuer
	}
	if cfg.ClientIP == nil {
		cfg.ClientIP = peer
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	client := http.Client{Timeout: askTimeout}
	if cfg.Client != nil {
		client = *cfg.Client
	}
	// Whoever redirects us gets no key, and names no keys to us.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	v := &Verifier{cfg: cfg, base: base, client: &client}
	v.keys.fetch = v.fetchKeys
	v.keys.now = cfg.Now
	return v, nil
}

func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

// Principal is whom a credential speaks for. It may be shared by requests: it is read-only.
type Principal struct {
	UserID string

	// Of an access token:

	SessionID    string    // empty for a key
	AuthTime     time.Time // when the person last proved who he is
	ACR          string    // aal1, or aal2 after a second factor
	AMR          []string  // pwd, otp, … (RFC 8176)
	Roles        []string
	RolesOmitted bool // there are too many roles for a token: none is listed

	// Of an API key:

	KeyID       string
	Environment string // live or test

	// Permissions are a key's scopes within what its owner may do, or what Config.RolePermissions gives the roles.
	Permissions []string
	// ExpiresAt is the end of the credential; zero: none.
	ExpiresAt time.Time
}

// IsKey says whether an API key was presented, and no access token.
func (p *Principal) IsKey() bool { return p.KeyID != "" }

// HasRole says whether the access token names the role. A key has no roles, and a token with RolesOmitted names none.
func (p *Principal) HasRole(name string) bool { return slices.Contains(p.Roles, name) }

// HasPermission says whether the principal has the permission, by its name or by a wildcard such as orders:* or *.
func (p *Principal) HasPermission(name string) bool {
	return slices.ContainsFunc(p.Permissions, func(grant string) bool {
		resource, wild := strings.CutSuffix(grant, ":*")
		return grant == "*" || grant == name || wild && strings.HasPrefix(name, resource+":")
	})
}
