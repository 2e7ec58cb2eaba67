// Package mail sends one message to one recipient: over SMTP, or into a development mailbox on disk.
//
// A Sender does not retry. It says whether trying again makes sense (ErrPermanent) and leaves the schedule, and the
// promise that a mail is sent at least once, to its caller's outbox.
package mail

import (
	"context"
	"errors"
	"fmt"
	netmail "net/mail"
	"strings"
	"unicode"

	"golang.org/x/net/idna"

	"github.com/user-management-service/ums/internal/platform/secret"
)

// Config is how mail leaves.
type Config struct {
	// SMTPURL is smtp://user:pass@host:port (port 587 when absent) or smtps://… (465, TLS from the first byte), with
	// ?tls=required, opportunistic or none. Empty: the development mailbox.
	// Without ?tls, smtp:// requires STARTTLS as soon as there are credentials or the host is not loopback.
	SMTPURL secret.Text `env:"UMS_SMTP_URL"`
	// From is the sender, an address with or without a name: `UMS <no-reply@example.com>`.
	From string `env:"UMS_MAIL_FROM" envDefault:"no-reply@localhost"`
}

// Message is one mail. The caller gives the ID, so that a message sent twice after a lost answer can be recognised
// by what receives it.
type Message struct {
	ID      string // Message-ID without angle brackets (RFC 5322, section 3.6.4)
	To      string // exactly one bare address
	Subject string // one line
	Text    string
	HTML    string
}

// Sender takes responsibility for a message, or returns why it could not. An error that is ErrPermanent stays the same
// however often the message is sent; any other may pass. A lost connection leaves open whether the message was taken.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// ErrPermanent marks a message that will not be accepted: the server answered 5xx to it, or it is malformed.
var ErrPermanent = errors.New("permanent failure")

// check refuses what could add a header or a recipient, or would be no mail. Nothing that callers make gets here with
// such content (addresses and names are validated when they come in); this is the second wall.
func (m Message) check() error {
	if m.ID == "" || strings.ContainsFunc(m.ID, notPrintableASCII) || strings.ContainsAny(m.ID, "<> ") {
		return fmt.Errorf("message id is not usable in a header: %w", ErrPermanent)
	}
	if _, err := recipient(m.To); err != nil {
		return err
	}
	if m.Subject == "" || strings.ContainsFunc(m.Subject, unicode.IsControl) {
		return fmt.Errorf("subject is empty or has control characters: %w", ErrPermanent)
	}
	if m.Text == "" || m.HTML == "" {
		return fmt.Errorf("text or HTML part is missing: %w", ErrPermanent)
	}
	return nil
}

// recipient returns the address in the form that SMTP without SMTPUTF8 takes: the domain in A-labels (RFC 5891).
// A list, a name, a group or a comment is refused; the error does not hold the address.
func recipient(to string) (string, error) {
	a, err := netmail.ParseAddress(to)
	if err != nil || a.Address != to || strings.ContainsFunc(to, unicode.IsControl) {
		return "", fmt.Errorf("recipient is not one bare address: %w", ErrPermanent)
	}
	at := strings.LastIndexByte(to, '@')
	domain, err := idna.Lookup.ToASCII(to[at+1:])
	if err != nil {
		return "", fmt.Errorf("recipient's domain cannot be written in ASCII: %w", ErrPermanent)
	}
	return to[:at+1] + domain, nil
}

func notPrintableASCII(r rune) bool { return r < 0x21 || r > 0x7e }
