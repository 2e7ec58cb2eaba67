package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// bootstrap makes the first administrator when there is none and the configuration names one: with the configured
// password, in development with a random one, else by an invitation.
func (a *App) bootstrap(ctx context.Context) error {
	email := a.cfg.Bootstrap.AdminEmail
	if email == "" {
		return nil
	}
	password := a.cfg.Bootstrap.AdminPassword
	if password.Empty() && !(a.cfg.Service.Development() && a.embedded != nil) {
		link, err := a.auth.InviteFirstAdmin(ctx, actor.Service("bootstrap"), email, a.mailbox == nil)
		if err != nil {
			return fmt.Errorf("UMS_BOOTSTRAP_ADMIN_EMAIL: %w", err)
		}
		if !link.Empty() {
			_, _ = fmt.Fprintf(a.stdout, "The first administrator, %s, sets a password here, within 7 days:\n  %s\n", email, link.Reveal())
		}
		return nil
	}
	random := password.Empty()
	if random {
		password = secret.New(strings.ToLower(rand.Text()))
	}
	made, err := a.accounts.BootstrapAdmin(ctx, email, password)
	if err != nil {
		return fmt.Errorf("UMS_BOOTSTRAP_ADMIN_EMAIL, UMS_BOOTSTRAP_ADMIN_PASSWORD: %w", err)
	}
	if made && random {
		a.adminPassword = password
	}
	return nil
}

// greet tells a person who has just started the service what to try. Only development has it.
func (a *App) greet(addr string) {
	if a.embedded == nil || !a.cfg.Service.Development() {
		return
	}
	base := "http://" + strings.Replace(addr, "127.0.0.1", "localhost", 1) // as the examples do: passkeys and cookies belong to a name
	var b strings.Builder
	fmt.Fprintf(&b, "\nUMS is ready on %s\n  mails       %s/dev/mail\n  reference   %s/docs\n", base, base, base)
	if email := a.cfg.Bootstrap.AdminEmail; email != "" {
		if a.adminPassword.Empty() {
			fmt.Fprintf(&b, "  admin       %s (its password was printed when it was made)\n", email)
		} else {
			fmt.Fprintf(&b, "  admin       %s  password: %s  (shown this once)\n", email, a.adminPassword.Reveal())
		}
	}
	fmt.Fprintf(&b, `
Try it:
  curl -s %[1]s/api/v1/auth/register -H 'Content-Type: application/json' -d '{"email":"ada@example.com","password":"correct horse battery"}'
  curl -s %[1]s/dev/mail -H 'Accept: application/json' | grep -o 'token=[A-Za-z0-9_-]*' | head -1
  TOKEN=$(curl -s %[1]s/dev/mail -H 'Accept: application/json' | grep -o 'token=[A-Za-z0-9_-]*' | head -1 | cut -d= -f2); curl -s -o /dev/null -w '%%{http_code}\n' %[1]s/api/v1/auth/email/verify -H 'Content-Type: application/json' -d '{"token":"'$TOKEN'","password":"correct horse battery"}'
  curl -s %[1]s/api/v1/auth/login -H 'Content-Type: application/json' -d '{"email":"ada@example.com","password":"correct horse battery"}'

The rest is in README.md and docs/user/getting_started.md. Ctrl-C stops everything.
`, base)
	_, _ = io.WriteString(a.stdout, b.String())
}
