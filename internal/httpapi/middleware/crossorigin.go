package middleware

import (
	"fmt"
	"net/http"
)

// CrossOrigin returns what says whether a browser sends the request for a page of another origin than ours and the listed
// ones; in development pages of this machine are listed too, as for CORS. Requests that no browser sends pass.
func CrossOrigin(origins Origins, development bool) (func(*http.Request) error, error) {
	protection := http.NewCrossOriginProtection()
	for _, origin := range origins {
		if err := protection.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("UMS_CORS_ORIGINS: %w", err)
		}
	}
	return func(r *http.Request) error {
		if origin := r.Header["Origin"]; development && len(origin) == 1 && Local(origin[0]) {
			return nil
		}
		return protection.Check(r)
	}, nil
}
