package httpapi

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// TokenForm is a token, and what its sender takes it for. The hint decides nothing: each token says what it is.
type TokenForm struct {
	_             struct{} `json:"-" additionalProperties:"true"` // a client's credentials, which nobody asked for
	Token         string   `json:"token" doc:"An access or a refresh token."`
	TokenTypeHint string   `json:"token_type_hint,omitempty" doc:"access_token or refresh_token; not needed."`
}

// IntrospectedToken says what a token is good for (RFC 7662, section 2.2). One that is good for nothing says no more than that.
type IntrospectedToken struct {
	Active    bool     `json:"active" doc:"Whether this service would take the token now."`
	TokenType string   `json:"token_type,omitempty" enum:"Bearer,refresh_token"`
	ClientID  string   `json:"client_id,omitempty"`
	Username  string   `json:"username,omitempty" doc:"The account's address."`
	Subject   *id.ID   `json:"sub,omitempty" format:"uuid" doc:"The account."`
	SessionID *id.ID   `json:"sid,omitempty" format:"uuid"`
	ID        string   `json:"jti,omitempty"`
	Issuer    string   `json:"iss,omitempty"`
	Audience  []string `json:"aud,omitempty"`
	IssuedAt  int64    `json:"iat,omitempty,omitzero" doc:"Seconds since 1970."`
	ExpiresAt int64    `json:"exp,omitempty,omitzero" doc:"Seconds since 1970."`
	AuthTime  int64    `json:"auth_time,omitempty,omitzero" doc:"When the person last proved who he is; seconds since 1970."`
	ACR       string   `json:"acr,omitempty"`
	AMR       []string `json:"amr,omitempty"`
}

type tokenInput struct {
	Body TokenForm `contentType:"application/x-www-form-urlencoded"`
}

func (s *Server) introspect(ctx context.Context, _ actor.Actor, in *tokenInput) (*unversioned[IntrospectedToken], error) {
	i, err := s.Auth.Introspect(ctx, secret.New(in.Body.Token))
	if err != nil {
		return nil, err
	}
	if i == nil {
		return &unversioned[IntrospectedToken]{}, nil
	}
	return &unversioned[IntrospectedToken]{Body: IntrospectedToken{
		Active: true, TokenType: i.TokenType, ClientID: i.ClientID, Username: i.Username, Subject: &i.Subject, SessionID: &i.SessionID, ID: i.ID,
		Issuer: i.Issuer, Audience: i.Audience, IssuedAt: i.IssuedAt.Unix(), ExpiresAt: i.ExpiresAt.Unix(), AuthTime: i.AuthTime.Unix(),
		ACR: i.ACR, AMR: i.AMR,
	}}, nil
}

func (s *Server) revokeToken(ctx context.Context, by actor.Actor, in *tokenInput) (*empty, error) {
	if err := s.Up(); err != nil { // a replica that has not come up yet knows no keys
		return nil, err
	}
	return &empty{}, s.Auth.Revoke(ctx, by, secret.New(in.Body.Token))
}
