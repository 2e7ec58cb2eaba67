package signing

import (
	"context"

	"github.com/user-management-service/ums/internal/platform/token"
)

// Verifier checks access tokens, also those under a key that another replica has only just made.
type Verifier struct {
	tokens *token.Verifier
	keys   *Service
}

// NewVerifier returns a verifier that reads the keys of s anew for a token whose key it does not know.
func NewVerifier(tokens *token.Verifier, s *Service) *Verifier { return &Verifier{tokens, s} }

// Verify is token.Verifier.Verify; token.ErrInvalid, with its reason, for whatever is not good.
func (v *Verifier) Verify(ctx context.Context, text string) (*token.Claims, error) {
	claims, err := v.tokens.Verify(text)
	if token.Reason(err) == "key" {
		if again, loadErr := v.keys.Reload(ctx); loadErr == nil && again { // at most once a second
			claims, err = v.tokens.Verify(text)
		}
	}
	return claims, err
}
