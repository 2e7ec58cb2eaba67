package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// Limits of one delivery. They lie below the time that a job may take, so that a slow server is an error of this
// attempt, told apart from a lost job.
const (
	stepTimeout = 10 * time.Second // one answer of the server
	sendTimeout = 20 * time.Second // the whole delivery
)

// SMTP sends each message over a connection of its own. It is safe for concurrent use.
type SMTP struct {
	host     string
	from     string
	options  []gomail.Option
	implicit bool // TLS from the first byte (RFC 8314, section 3)
	tls      *tls.Config
}

// NewSMTP reads the URL of cfg. Errors say what is wrong with it and never hold the URL, which has a password in it.
func NewSMTP(cfg Config) (*SMTP, error) {
	from, err := netmail.ParseAddress(cfg.From)
	if err != nil {
		return nil, fmt.Errorf("UMS_MAIL_FROM is not a mail address (want no-reply@example.com or Name <no-reply@example.com>)")
	}
	u, err := url.Parse(cfg.SMTPURL.Reveal())
	if err != nil || u.Hostname() == "" || (u.Scheme != "smtp" && u.Scheme != "smtps") ||
		(u.Path != "" && u.Path != "/") || u.Fragment != "" || u.Opaque != "" {
		return nil, errors.New("UMS_SMTP_URL is not smtp://[user:password@]host[:port] or smtps://… " +
			"(special characters of the password must be percent-encoded)")
	}
	s := &SMTP{host: u.Hostname(), from: from.String(), implicit: u.Scheme == "smtps"}
	s.tls = &tls.Config{ServerName: s.host, MinVersion: tls.VersionTLS12}

	port := gomail.DefaultPortTLS
	if s.implicit {
		port = gomail.DefaultPortSSL
	}
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
			return nil, errors.New("UMS_SMTP_URL has a port that is no port")
		}
	}
	user := u.User.Username()
	policy, err := tlsPolicy(u, user != "")
	if err != nil {
		return nil, err
	}
	s.options = []gomail.Option{
		gomail.WithPort(port), gomail.WithTLSPolicy(policy), gomail.WithTLSConfig(s.tls),
		gomail.WithTimeout(stepTimeout), gomail.WithoutNoop(), gomail.WithoutRset(),
	}
	if user != "" {
		password, _ := u.User.Password()
		s.options = append(s.options, gomail.WithUsername(user), gomail.WithPassword(password), authentication(policy, s.implicit))
	}
	if s.implicit {
		s.options = append(s.options, gomail.WithSSL())
	}
	if _, err := gomail.NewClient(s.host, s.options...); err != nil {
		return nil, fmt.Errorf("mail client for UMS_SMTP_URL: %w", err)
	}
	return s, nil
}

// tlsPolicy reads ?tls=. Opportunistic still checks the certificate once STARTTLS is offered; for a server on loopback
// the default is none, because there a certificate seldom fits the name and nobody listens in between.
func tlsPolicy(u *url.URL, credentials bool) (gomail.TLSPolicy, error) {
	query := u.Query()
	mode := query.Get("tls")
	query.Del("tls")
	if len(query) > 0 {
		return 0, errors.New("UMS_SMTP_URL has a parameter other than tls")
	}
	if u.Scheme == "smtps" {
		if mode != "" && mode != "required" {
			return 0, errors.New("UMS_SMTP_URL: smtps:// always uses TLS; take smtp:// for ?tls=opportunistic or none")
		}
		return gomail.NoTLS, nil // no STARTTLS inside TLS
	}
	switch mode {
	case "required":
		return gomail.TLSMandatory, nil
	case "opportunistic":
		return gomail.TLSOpportunistic, nil
	case "none":
		return gomail.NoTLS, nil
	case "":
		if credentials || !loopback(u.Hostname()) {
			return gomail.TLSMandatory, nil
		}
		return gomail.NoTLS, nil
	default:
		return 0, errors.New("UMS_SMTP_URL: tls is required, opportunistic or none")
	}
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// authentication lists the mechanisms by preference. A bare password crosses an unencrypted connection only when the
// operator has said ?tls=none himself.
func authentication(policy gomail.TLSPolicy, implicit bool) gomail.Option {
	if policy == gomail.NoTLS && !implicit {
		return gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1,
			gomail.SMTPAuthCramMD5, gomail.SMTPAuthPlainNoEnc, gomail.SMTPAuthLoginNoEnc)
	}
	return gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1,
		gomail.SMTPAuthPlain, gomail.SMTPAuthLogin)
}

// Send delivers m to the configured server: nil once the server has answered 250 to its content. When ctx ends, the
// connection is cut. Errors name the step and the server's code, never its text (servers quote the recipient).
func (s *SMTP) Send(ctx context.Context, m Message) error {
	msg, err := s.compose(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	// A client for each message: go-mail's keeps the negotiated mechanism in itself and is not safe to share.
	client, err := gomail.NewClient(s.host, append(s.options[:len(s.options):len(s.options)], gomail.WithDialContextFunc(s.dial(ctx)))...)
	if err != nil {
		return fmt.Errorf("mail client: %w", err)
	}
	err = client.DialAndSendWithContext(ctx, msg)
	if msg.IsDelivered() {
		return nil // what failed after the 250 was saying goodbye
	}
	if ctx.Err() != nil {
		return fmt.Errorf("send mail: %w", context.Cause(ctx))
	}
	return classify(err)
}

// Check signs in at the server and says goodbye: connection, TLS, credentials; no mail is sent. Its error
// may hold the server's own words, which name no recipient.
func (s *SMTP) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	client, err := gomail.NewClient(s.host, append(s.options[:len(s.options):len(s.options)], gomail.WithDialContextFunc(s.dial(ctx)))...)
	if err != nil {
		return fmt.Errorf("mail client: %w", err)
	}
	if err := client.DialWithContext(ctx); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("connect to the mail server: %w", context.Cause(ctx))
		}
		return fmt.Errorf("sign in at the mail server: %w", err)
	}
	_ = client.Close() // what fails now is saying goodbye
	return nil
}

// dial connects, and cuts the connection when ctx of the whole delivery ends: go-mail itself only watches the dialing.
func (s *SMTP) dial(ctx context.Context) gomail.DialContextFunc {
	return func(dialing context.Context, network, address string) (net.Conn, error) {
		var conn net.Conn
		var err error
		if s.implicit {
			conn, err = (&tls.Dialer{Config: s.tls}).DialContext(dialing, network, address)
		} else {
			conn, err = (&net.Dialer{}).DialContext(dialing, network, address)
		}
		if err == nil {
			context.AfterFunc(ctx, func() { _ = conn.Close() })
		}
		return conn, err
	}
}

// compose makes the MIME message: text and HTML alternatives (RFC 2046, section 5.1.4), one recipient.
func (s *SMTP) compose(m Message) (*gomail.Msg, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	to, err := recipient(m.To)
	if err != nil {
		return nil, err
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := msg.From(s.from); err != nil {
		return nil, fmt.Errorf("set the sender: %w", err)
	}
	if err := msg.To(to); err != nil {
		return nil, fmt.Errorf("recipient is not a mail address: %w", ErrPermanent)
	}
	msg.SetMessageIDWithValue(m.ID)
	msg.SetDate()
	msg.Subject(m.Subject)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834, section 5: no holiday replies
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	return msg, nil
}

// classify keeps of go-mail's error the step and the code, and decides what is permanent: a 5xx answer to this message.
// A server that refuses the connection or our credentials, whatever its code, has said nothing about the message: an
// operator can repair that, and the mail still goes out.
func classify(err error) error {
	var sending *gomail.SendError
	if !errors.As(err, &sending) {
		return fmt.Errorf("connect to the mail server: %w", err)
	}
	code := sending.ErrorCode()
	if code == 0 {
		return fmt.Errorf("%s: the connection broke", sending.Reason)
	}
	answer := strings.TrimSpace(fmt.Sprintf("%d %s", code, sending.EnhancedStatusCode()))
	if code < 500 || code == 530 || code == 535 || code == 538 { // RFC 4954, section 6: credentials
		return fmt.Errorf("%s: %s", sending.Reason, answer)
	}
	return fmt.Errorf("%s: %s: %w", sending.Reason, answer, ErrPermanent)
}
