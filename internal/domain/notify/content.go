package notify

import (
	"net/netip"
	"time"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// Mail is one mail to be sent: to whom, in which language, with what content.
type Mail struct {
	UserID  id.ID // whose account it is about; id.Nil when there is none. The mail goes when the account goes
	To      string
	Locale  string // a BCP 47 tag; the closest template language is taken, else English
	Content Content
}

// Content is what a mail says: one of the types below. Names and devices in it come from people: they are shown, but
// cannot make a link or break out of their place.
type Content interface {
	template() string
	// life is how long the mail is worth sending: a link that has expired helps nobody.
	life() time.Duration
	// values are the template's variables; durations and times are worded in the language of l.
	values(links Links, l language) map[string]string
}

// noticeLife is for mails without a token: older than this a notice confuses more than it tells.
const noticeLife = 72 * time.Hour

// VerifyEmail asks to confirm an address. The click alone proves a mailbox; the page behind it asks for the password.
type VerifyEmail struct {
	Name     string
	Token    secret.Text
	Life     time.Duration // of the token
	Code     secret.Text   // 8 digits; empty where no registration waits for it
	CodeLife time.Duration
}

func (VerifyEmail) template() string      { return "verify_email" }
func (c VerifyEmail) life() time.Duration { return c.Life }
func (c VerifyEmail) values(links Links, l language) map[string]string {
	v := map[string]string{
		"name": harmless(c.Name), "link": links.VerifyEmail(c.Token), "life": l.duration(c.Life),
		"code": c.Code.Reveal(), "code_life": "",
	}
	if !c.Code.Empty() {
		v["code_life"] = l.duration(c.CodeLife)
	}
	return v
}

// AlreadyRegistered answers a registration with an address that has an account. It holds no token.
type AlreadyRegistered struct{ Name string }

func (AlreadyRegistered) template() string    { return "already_registered" }
func (AlreadyRegistered) life() time.Duration { return noticeLife }
func (c AlreadyRegistered) values(Links, language) map[string]string {
	return map[string]string{"name": harmless(c.Name)}
}

// Invitation asks someone to take an account that was made for him.
type Invitation struct {
	Name      string
	InvitedBy string // a display name; empty when an operator did it
	Token     secret.Text
	Life      time.Duration
}

func (Invitation) template() string      { return "invitation" }
func (c Invitation) life() time.Duration { return c.Life }
func (c Invitation) values(links Links, l language) map[string]string {
	return map[string]string{
		"name": harmless(c.Name), "invited_by": harmless(c.InvitedBy),
		"link": links.AcceptInvitation(c.Token), "life": l.duration(c.Life),
	}
}

// PasswordReset lets whoever reads the mailbox choose a new password.
type PasswordReset struct {
	Name  string
	Token secret.Text
	Life  time.Duration
}

func (PasswordReset) template() string      { return "password_reset" }
func (c PasswordReset) life() time.Duration { return c.Life }
func (c PasswordReset) values(links Links, l language) map[string]string {
	return map[string]string{
		"name": harmless(c.Name), "link": links.ResetPassword(c.Token), "life": l.duration(c.Life),
	}
}

// PasswordRecovered tells that a new password was set by a mailed link, and what ended with it.
type PasswordRecovered struct {
	Name        string
	KeysRevoked bool // the account had API keys
	At          time.Time
}

func (PasswordRecovered) template() string    { return "password_recovered" }
func (PasswordRecovered) life() time.Duration { return noticeLife }
func (c PasswordRecovered) values(Links, language) map[string]string {
	keys := ""
	if c.KeysRevoked {
		keys = "revoked"
	}
	return map[string]string{"name": harmless(c.Name), "keys": keys, "time": moment(c.At)}
}

// PasswordChanged tells that somebody who knew the password set another one.
type PasswordChanged struct {
	Name string
	At   time.Time
}

func (PasswordChanged) template() string    { return "password_changed" }
func (PasswordChanged) life() time.Duration { return noticeLife }
func (c PasswordChanged) values(Links, language) map[string]string {
	return map[string]string{"name": harmless(c.Name), "time": moment(c.At)}
}

// MagicLink signs in whoever reads the mailbox.
type MagicLink struct {
	Name  string
	Token secret.Text
	Life  time.Duration
}

func (MagicLink) template() string      { return "magic_link" }
func (c MagicLink) life() time.Duration { return c.Life }
func (c MagicLink) values(links Links, l language) map[string]string {
	return map[string]string{"name": harmless(c.Name), "link": links.MagicLink(c.Token), "life": l.duration(c.Life)}
}

// SessionReuse tells that a refresh token came back after it had been used, and that its session was ended.
type SessionReuse struct {
	Name   string
	Device string // the session's name or user agent
	At     time.Time
}

func (SessionReuse) template() string    { return "session_reuse" }
func (SessionReuse) life() time.Duration { return noticeLife }
func (c SessionReuse) values(Links, language) map[string]string {
	return map[string]string{"name": harmless(c.Name), "device": harmless(c.Device), "time": moment(c.At)}
}

// NewSignIn tells of a sign-in with a program and from a network that the account had not signed in with before.
type NewSignIn struct {
	Name    string
	Device  string // the program, as session.Agent names it
	Address netip.Addr
	At      time.Time
}

func (NewSignIn) template() string    { return "new_sign_in" }
func (NewSignIn) life() time.Duration { return noticeLife }
func (c NewSignIn) values(Links, language) map[string]string {
	return map[string]string{"name": harmless(c.Name), "device": harmless(c.Device), "address": c.Address.String(), "time": moment(c.At)}
}

// EmailCorrectedOld tells the former address that an administrator changed it. It does not say to what.
type EmailCorrectedOld struct {
	Name string
	At   time.Time
}

func (EmailCorrectedOld) template() string    { return "email_corrected_old" }
func (EmailCorrectedOld) life() time.Duration { return noticeLife }
func (c EmailCorrectedOld) values(Links, language) map[string]string {
	return map[string]string{"name": harmless(c.Name), "time": moment(c.At)}
}

// EmailCorrectedNew tells the new address, and asks to confirm it with the account's password.
type EmailCorrectedNew struct {
	Name  string
	Token secret.Text
	Life  time.Duration
}

func (EmailCorrectedNew) template() string      { return "email_corrected_new" }
func (c EmailCorrectedNew) life() time.Duration { return c.Life }
func (c EmailCorrectedNew) values(links Links, l language) map[string]string {
	return map[string]string{
		"name": harmless(c.Name), "link": links.VerifyEmail(c.Token), "life": l.duration(c.Life),
	}
}

// EmailChangeConfirm asks the new address whether it is to be the account's.
type EmailChangeConfirm struct {
	Name  string
	Token secret.Text
	Life  time.Duration
}

func (EmailChangeConfirm) template() string      { return "email_change_confirm" }
func (c EmailChangeConfirm) life() time.Duration { return c.Life }
func (c EmailChangeConfirm) values(links Links, l language) map[string]string {
	return map[string]string{
		"name": harmless(c.Name), "link": links.ConfirmEmailChange(c.Token), "life": l.duration(c.Life),
	}
}

// EmailChangeNotice tells the address in force that another one was asked for. It does not say which.
type EmailChangeNotice struct {
	Name  string
	At    time.Time
	Token secret.Text   // of the way back; empty where there is none
	Life  time.Duration // of the token
}

func (EmailChangeNotice) template() string      { return "email_change_notice" }
func (c EmailChangeNotice) life() time.Duration { return c.Life }
func (c EmailChangeNotice) values(links Links, l language) map[string]string {
	v := map[string]string{"name": harmless(c.Name), "time": moment(c.At), "link": "", "life": l.duration(c.Life)}
	if !c.Token.Empty() {
		v["link"] = links.UndoEmailChange(c.Token)
	}
	return v
}

// EmailChangeTaken tells the owner of an address that somebody asked to have it for another account. It holds no token.
type EmailChangeTaken struct{ Name string }

func (EmailChangeTaken) template() string    { return "email_change_taken" }
func (EmailChangeTaken) life() time.Duration { return noticeLife }
func (c EmailChangeTaken) values(Links, language) map[string]string {
	return map[string]string{"name": harmless(c.Name)}
}

// PasskeyEvent is what happened to a passkey.
type PasskeyEvent string

// The events.
const (
	PasskeyAdded   PasskeyEvent = "added"
	PasskeyRemoved PasskeyEvent = "removed"
	PasskeyRefused PasskeyEvent = "refused" // its counter did not grow: it may have been copied
)

// Passkey tells the owner what happened to a passkey of his account: whoever did it may not have been he.
type Passkey struct {
	Name    string
	Event   PasskeyEvent
	Passkey string // its name
	At      time.Time
}

func (Passkey) template() string    { return "passkey" }
func (Passkey) life() time.Duration { return noticeLife }
func (c Passkey) values(Links, language) map[string]string {
	return map[string]string{
		"name": harmless(c.Name), "event": string(c.Event), "passkey": harmless(c.Passkey), "time": moment(c.At),
	}
}

// AccountDeleted tells the owner that his account is gone, or will be.
type AccountDeleted struct {
	Name  string
	Until time.Time // when the grace ends, in which it can be undone; zero: there is none, and it is gone
}

func (AccountDeleted) template() string    { return "account_deleted" }
func (AccountDeleted) life() time.Duration { return noticeLife }
func (c AccountDeleted) values(Links, language) map[string]string {
	v := map[string]string{"name": harmless(c.Name), "until": ""}
	if !c.Until.IsZero() {
		v["until"] = moment(c.Until)
	}
	return v
}

// moment words a time alike in all languages.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
