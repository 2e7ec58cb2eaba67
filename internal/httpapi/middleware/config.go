package middleware

// Config is what operators say about the edge.
type Config struct {
	TrustedProxies Prefixes `envconfig:"UMS_TRUSTED_PROXIES"`
	CORSOrigins    Origins  `envconfig:"UMS_CORS_ORIGINS"`
	AllowedHosts   Hosts    `envconfig:"UMS_ALLOWED_HOSTS"`
	RateLimit      RateLimitConfig
}
