package notify

import (
	"errors"
	"net/url"
	"strings"

	"github.com/user-management-service/ums/internal/platform/secret"
)

// Links builds the links of mails, from configuration alone: no part of a request ever gets into one.
type Links struct{ base string }

// NewLinks takes an http or https URL without query or fragment; a path is allowed.
func NewLinks(base string) (Links, error) {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil ||
		u.RawQuery != "" || u.ForceQuery || strings.Contains(base, "#") {
		return Links{}, errors.New("want an absolute http or https URL without query or fragment")
	}
	return Links{strings.TrimRight(u.String(), "/")}, nil
}

// VerifyEmail links to the page that confirms an address.
func (l Links) VerifyEmail(token secret.Text) string { return l.to("verify-email", token) }

// AcceptInvitation links to the page that takes an invitation.
func (l Links) AcceptInvitation(token secret.Text) string { return l.to("accept-invitation", token) }

// ResetPassword links to the page that sets a new password.
func (l Links) ResetPassword(token secret.Text) string { return l.to("reset-password", token) }

// ConfirmEmailChange links to the page that makes a new address the account's.
func (l Links) ConfirmEmailChange(token secret.Text) string {
	return l.to("confirm-email-change", token)
}

// UndoEmailChange links to the page that gives an account its former address back.
func (l Links) UndoEmailChange(token secret.Text) string { return l.to("undo-email-change", token) }

// MagicLink links to the page that signs in.
func (l Links) MagicLink(token secret.Text) string { return l.to("magic-link", token) }

// to puts the token into the fragment, which browsers send to nobody: no log, no Referer.
func (l Links) to(page string, token secret.Text) string {
	return l.base + "/" + page + "#token=" + url.QueryEscape(token.Reveal())
}
