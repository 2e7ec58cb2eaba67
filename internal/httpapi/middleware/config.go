package middleware

// Config is what operators say about the edge.
type Config struct {
	TrustedProxies Prefixes `env:"UMS_TRUSTED_PROXIES"`
	CORSOrigins    Origins  `env:"UMS_CORS_ORIGINS"`
	AllowedHosts   Hosts    `env:"UMS_ALLOWED_HOSTS"`
	RateLimit      RateLimitConfig
}
