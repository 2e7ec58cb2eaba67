package httpapi

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
)

// EmailChange asks for another address.
type EmailChange struct {
	NewEmail string `json:"new_email" maxLength:"1024" doc:"Gets a mail that confirms it; until then the address in force stays so."`
}

// EmailChangeProof is the token of a mailed link; nothing else is needed, no session either.
type EmailChangeProof struct {
	Token string `json:"token" doc:"From the link in the mail."`
}

func (s *Server) changeEmail(ctx context.Context, by actor.Actor, in *struct{ Body EmailChange }) (*empty, error) {
	return &empty{}, s.Auth.ChangeEmail(ctx, by, in.Body.NewEmail)
}

func (s *Server) confirmEmailChange(ctx context.Context, by actor.Actor, in *struct{ Body EmailChangeProof }) (*empty, error) {
	return &empty{}, s.Auth.ConfirmEmailChange(ctx, by, in.Body.Token)
}

func (s *Server) undoEmailChange(ctx context.Context, by actor.Actor, in *struct{ Body EmailChangeProof }) (*empty, error) {
	return &empty{}, s.Auth.UndoEmailChange(ctx, by, in.Body.Token)
}
