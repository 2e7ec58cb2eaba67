package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/user-management-service/ums/internal/domain/auth"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// errCrossOrigin refuses a request that a browser sends with the cookie for a page that may not use it.
var errCrossOrigin = fault.New(fault.Forbidden, "permission_denied",
	"Pages of this origin may not sign in with a cookie or use the one that is there.")

// Tokens are a session's: the access token for calls, the refresh token for the next access token.
type Tokens struct {
	TokenType        string `json:"token_type" enum:"Bearer"`
	AccessToken      string `json:"access_token" doc:"A JWT (RFC 9068)."`
	ExpiresIn        int    `json:"expires_in" doc:"Seconds."`
	RefreshToken     string `json:"refresh_token,omitempty" doc:"Opaque; good for one use, which gives the next. Absent from sessions that were begun with cookie: true: it is in the cookie."`
	RefreshExpiresIn int    `json:"refresh_expires_in" doc:"Seconds."`
	SessionID        id.ID  `json:"session_id" format:"uuid"`
}

// issued is the answer that holds tokens, whichever way they were come by.
type issued struct {
	SetCookie string `header:"Set-Cookie" doc:"The refresh token of a session that was begun with cookie: true."`
	Body      Tokens
}

// signedOut is the answer that takes the cookie back.
type signedOut struct {
	SetCookie string `header:"Set-Cookie" doc:"Clears the cookie, when the request carried it."`
}

// issue returns what encodes tokens for the request of ctx. The refresh token of a cookie session goes into the cookie
// and nowhere else; so does one that came in the cookie. Every route that answers with tokens goes through here.
func (s *Server) issue(ctx context.Context) func(auth.Tokens, error) (*issued, error) {
	return func(t auth.Tokens, err error) (*issued, error) {
		if err != nil {
			return nil, err
		}
		out := &issued{Body: Tokens{
			TokenType: "Bearer", AccessToken: t.AccessToken.Reveal(), ExpiresIn: int(t.ExpiresIn / time.Second),
			RefreshExpiresIn: int(t.RefreshExpiresIn / time.Second), SessionID: t.SessionID,
		}}
		if t.Cookie || callFrom(ctx).byCookie {
			out.SetCookie = s.cookie(t.RefreshToken.Reveal(), out.Body.RefreshExpiresIn)
		} else {
			out.Body.RefreshToken = t.RefreshToken.Reveal()
		}
		return out, nil
	}
}

// mayUseCookie refuses a sign-in that asks for a cookie, or the use of one, by a page of an origin that is not listed.
// Browsers say where a request comes from; what says nothing is no browser. Routes that take cookie: true call it first.
func (s *Server) mayUseCookie(ctx context.Context, wanted bool) error {
	if wanted && s.crossOrigin(requestFrom(ctx)) != nil {
		return errCrossOrigin
	}
	return nil
}

// presented is the refresh token of a request: of its body, else of its cookie. No other route looks at the cookie.
func (s *Server) presented(ctx context.Context, body string) (secret.Text, error) {
	if body != "" {
		return secret.New(body), nil
	}
	cookies := requestFrom(ctx).CookiesNamed(s.cookieName())
	if len(cookies) == 0 || cookies[0].Value == "" {
		return secret.Text{}, nil
	}
	callFrom(ctx).byCookie = true
	return secret.New(cookies[0].Value), s.mayUseCookie(ctx, true)
}

// cookieName has the prefix by which a browser holds the cookie to this very host and to TLS (RFC 6265bis, section
// 4.1.3.2). It cannot be had over plain HTTP, which is for development on one machine.
func (s *Server) cookieName() string {
	if s.plain {
		return "ums_refresh"
	}
	return "__Host-ums_refresh"
}

// cookie returns the Set-Cookie of a value for so many seconds; less than one clears it.
func (s *Server) cookie(value string, seconds int) string {
	if seconds < 1 {
		value, seconds = "", -1
	}
	return (&http.Cookie{ //nolint:gosec // plain HTTP on this machine alone can have no Secure
		Name: s.cookieName(), Value: value, Path: "/", MaxAge: seconds, HttpOnly: true, Secure: !s.plain, SameSite: http.SameSiteStrictMode,
	}).String()
}
