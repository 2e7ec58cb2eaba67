package app

import "net/http"

// Handler is the whole surface, for benchmarks that leave the network out.
func (a *App) Handler() http.Handler { return a.api }

// WithoutUsage switches the counting of keys' uses off. Call it before any request.
func (a *App) WithoutUsage() { a.api.KeyUsage = nil }
