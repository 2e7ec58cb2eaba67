package middleware

import "time"

// Config is what operators say about the edge.
type Config struct {
	TrustedProxies Prefixes `env:"UMS_TRUSTED_PROXIES"`
	CORSOrigins    Origins  `env:"UMS_CORS_ORIGINS"`
	AllowedHosts   Hosts    `env:"UMS_ALLOWED_HOSTS"`
	RateLimit      RateLimitConfig
	// Stall is how long a stream may make no progress; 0: 30 s. In all it may take as long as it needs.
	Stall time.Duration `env:"-"`
}
