package mail_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/platform/mail"
	"github.com/user-management-service/ums/internal/platform/mail/mailtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

func sender(t *testing.T, url string) *mail.SMTP {
	t.Helper()
	s, err := mail.NewSMTP(mail.Config{SMTPURL: secret.New(url), From: "UMS <no-reply@ums.test>"})
	require.NoError(t, err)
	return s
}

func message() mail.Message {
	return mail.Message{
		ID: "0198-1@ums.test", To: "alice@x.test", Subject: "Bestätigen Sie Ihre Adresse – Ümläut 😀 " + strings.Repeat("lang ", 20),
		Text: "Grüße\n\n.a dot line\nhttps://ums.test/verify-email#token=abc_DEF-1\n\n    12345678\n",
		HTML: "<p>Grüße <b>" + strings.Repeat("x", 2000) + "</b></p>\n",
	}
}

func TestSendArrivesAsWritten(t *testing.T) {
	t.Parallel()
	server := mailtest.NewServer(t)
	m := message()
	require.NoError(t, sender(t, server.URL()).Send(t.Context(), m))

	got := server.WaitFor(t, "alice@x.test", 1)
	require.Equal(t, []string{"alice@x.test"}, got.Recipients)
	require.Equal(t, "no-reply@ums.test", got.From)
	require.Equal(t, m.Subject, got.Subject)
	require.Equal(t, m.Text, got.Text)
	require.Equal(t, m.HTML, got.HTML)
	require.Equal(t, "<"+m.ID+">", got.Header.Get("Message-ID"))
	require.Equal(t, "<alice@x.test>", got.Header.Get("To"))
	require.Equal(t, `"UMS" <no-reply@ums.test>`, got.Header.Get("From"))
	require.Equal(t, "auto-generated", got.Header.Get("Auto-Submitted"))
	require.Equal(t, "abc_DEF-1", got.Token())
	require.Equal(t, "12345678", got.Code())
	date, err := got.Header.Date()
	require.NoError(t, err)
	require.False(t, date.IsZero())
	for line := range strings.SplitSeq(got.Raw, "\n") {
		require.LessOrEqual(t, len(line), 998, "RFC 5322, section 2.1.1")
	}
}

func TestInternationalDomainTravelsInASCII(t *testing.T) {
	t.Parallel()
	server := mailtest.NewServer(t)
	m := message()
	m.To = "alice@bücher.test"
	require.NoError(t, sender(t, server.URL()).Send(t.Context(), m))
	require.Equal(t, "alice@xn--bcher-kva.test", server.Messages()[0].To)
}

// REG-09: one To, no header that the caller did not mean, whatever the fields hold.
func TestREG09NothingInjectsAHeaderOrARecipient(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*mail.Message){
		"subject CRLF":     func(m *mail.Message) { m.Subject = "hi\r\nBcc: eve@x.test" },
		"subject LF":       func(m *mail.Message) { m.Subject = "hi\nBcc: eve@x.test" },
		"subject NUL":      func(m *mail.Message) { m.Subject = "hi\x00" },
		"subject empty":    func(m *mail.Message) { m.Subject = "" },
		"two recipients":   func(m *mail.Message) { m.To = "alice@x.test, eve@x.test" },
		"recipient CRLF":   func(m *mail.Message) { m.To = "alice@x.test\r\nBcc: eve@x.test" },
		"recipient name":   func(m *mail.Message) { m.To = "Eve <eve@x.test>" },
		"recipient angle":  func(m *mail.Message) { m.To = "<eve@x.test>" },
		"recipient group":  func(m *mail.Message) { m.To = "all: alice@x.test, eve@x.test;" },
		"recipient empty":  func(m *mail.Message) { m.To = "" },
		"recipient domain": func(m *mail.Message) { m.To = "alice@x..test" },
		"id CRLF":          func(m *mail.Message) { m.ID = "a@b\r\nBcc: eve@x.test" },
		"id angle":         func(m *mail.Message) { m.ID = "a@b> <c@d" },
		"id empty":         func(m *mail.Message) { m.ID = "" },
		"no text":          func(m *mail.Message) { m.Text = "" },
		"no html":          func(m *mail.Message) { m.HTML = "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := mailtest.NewServer(t)
			box, err := mail.NewMailbox(t.TempDir())
			require.NoError(t, err)
			m := message()
			change(&m)
			require.ErrorIs(t, sender(t, server.URL()).Send(t.Context(), m), mail.ErrPermanent)
			require.ErrorIs(t, box.Send(t.Context(), m), mail.ErrPermanent)
			require.Empty(t, server.Messages())
		})
	}
}

func TestAnySubjectIsOneHeaderOrRefused(t *testing.T) {
	t.Parallel()
	server := mailtest.NewServer(t)
	s := sender(t, server.URL())
	rapid.Check(t, func(r *rapid.T) {
		m := message()
		m.Subject = rapid.String().Draw(r, "subject")
		before := len(server.Messages())
		if err := s.Send(t.Context(), m); err != nil {
			require.ErrorIs(r, err, mail.ErrPermanent)
			return
		}
		got := server.Messages()[before]
		require.Equal(r, []string{"alice@x.test"}, got.Recipients)
		require.Len(r, got.Header, 8, "%v", got.Header)
		require.Equal(r, m.Text, got.Text)
	})
}

func TestFailuresAreClassified(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		failure   mailtest.Failure
		permanent bool
		taken     int
		says      string
	}{
		{mailtest.RefuseConnection, false, 0, "connect to the mail server"},
		{mailtest.TemporaryAtRcpt, false, 0, "451 4.2.0"},
		{mailtest.PermanentAtRcpt, true, 0, "550 5.1.1"},
		{mailtest.TemporaryAtData, false, 0, "451 4.3.0"},
		{mailtest.PermanentAtData, true, 0, "554 5.7.1"},
		{mailtest.DropAfterData, false, 1, "the connection broke"},
		{mailtest.Unauthenticated, false, 0, "530 5.7.0"},
	} {
		t.Run(c.says, func(t *testing.T) {
			t.Parallel()
			server := mailtest.NewServer(t)
			s := sender(t, server.URL())
			server.Fail(c.failure, 1)
			err := s.Send(t.Context(), message())
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "alice", "an error names no recipient")
			if c.permanent {
				require.ErrorIs(t, err, mail.ErrPermanent)
			} else {
				require.NotErrorIs(t, err, mail.ErrPermanent)
			}
			require.Len(t, server.Messages(), c.taken)

			require.NoError(t, s.Send(t.Context(), message()))
			for _, m := range server.Messages() {
				require.Equal(t, "<0198-1@ums.test>", m.Header.Get("Message-ID"), "a repetition can be recognised")
			}
		})
	}
}

func TestNoServerIsTemporary(t *testing.T) {
	t.Parallel()
	err := sender(t, "smtp://127.0.0.1:1").Send(t.Context(), message())
	require.Error(t, err)
	require.NotErrorIs(t, err, mail.ErrPermanent)
}

func TestCancellationCutsAHangingServer(t *testing.T) {
	t.Parallel()
	server := mailtest.NewServer(t)
	server.Fail(mailtest.HangAfterData, 1)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	s := sender(t, server.URL())
	go func() { result <- s.Send(ctx, message()) }()
	server.WaitFor(t, "alice@x.test", 1)
	cancel()
	require.ErrorIs(t, <-result, context.Canceled)
}

func TestTLSAndCredentials(t *testing.T) {
	t.Parallel()
	const user, password = "mailer", "p4ss"
	for name, c := range map[string]struct {
		options  []mailtest.Option
		query    string
		distrust bool
		sent     bool
		tls      bool
	}{
		"loopback, no credentials: plain":                 {nil, "", false, true, false},
		"loopback, offered but not asked for":             {[]mailtest.Option{mailtest.WithSTARTTLS()}, "", false, true, false},
		"required":                                        {[]mailtest.Option{mailtest.WithSTARTTLS()}, "?tls=required", false, true, true},
		"required, not offered":                           {nil, "?tls=required", false, false, false},
		"required, unknown certificate":                   {[]mailtest.Option{mailtest.WithSTARTTLS()}, "?tls=required", true, false, false},
		"opportunistic, offered":                          {[]mailtest.Option{mailtest.WithSTARTTLS()}, "?tls=opportunistic", false, true, true},
		"opportunistic, not offered":                      {nil, "?tls=opportunistic", false, true, false},
		"opportunistic, unknown certificate":              {[]mailtest.Option{mailtest.WithSTARTTLS()}, "?tls=opportunistic", true, false, false},
		"credentials require TLS":                         {[]mailtest.Option{mailtest.WithAuth(user, password)}, "", false, false, false},
		"credentials over STARTTLS":                       {[]mailtest.Option{mailtest.WithAuth(user, password), mailtest.WithSTARTTLS()}, "", false, true, true},
		"credentials in the clear when the operator asks": {[]mailtest.Option{mailtest.WithAuth(user, password)}, "?tls=none", false, true, false},
		"smtps":                      {[]mailtest.Option{mailtest.WithTLS()}, "", false, true, true},
		"smtps with credentials":     {[]mailtest.Option{mailtest.WithTLS(), mailtest.WithAuth(user, password)}, "", false, true, true},
		"smtps, unknown certificate": {[]mailtest.Option{mailtest.WithTLS()}, "", true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := mailtest.NewServer(t, c.options...)
			s := sender(t, server.URL()+c.query)
			if !c.distrust {
				s.Trust(server.Roots())
			}
			err := s.Send(t.Context(), message())
			if !c.sent {
				require.Error(t, err)
				require.NotErrorIs(t, err, mail.ErrPermanent, "an operator can repair it")
				require.NotContains(t, err.Error(), password)
				require.Empty(t, server.Messages())
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.tls, server.Messages()[0].TLS)
		})
	}
}

func TestWrongCredentialsAreTemporary(t *testing.T) {
	t.Parallel()
	server := mailtest.NewServer(t, mailtest.WithAuth("mailer", "right"), mailtest.WithSTARTTLS())
	err := sender(t, strings.Replace(server.URL(), "right", "wrong", 1)).Trust(server.Roots()).Send(t.Context(), message())
	require.ErrorContains(t, err, "535")
	require.NotErrorIs(t, err, mail.ErrPermanent)
}

func TestSendersAreSafeToShare(t *testing.T) {
	t.Parallel()
	server := mailtest.NewServer(t, mailtest.WithAuth("mailer", "right"), mailtest.WithSTARTTLS())
	s := sender(t, server.URL()).Trust(server.Roots())
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() { require.NoError(t, s.Send(t.Context(), message())) })
	}
	wait.Wait()
	require.Len(t, server.Messages(), 8)
}

func TestConfigErrorsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	for url, says := range map[string]string{
		"mail.example.com:25":                  "is not smtp://",
		"http://mail.example.com":              "is not smtp://",
		"smtp://":                              "is not smtp://",
		"smtp://u:sec%ret@mail.example.com":    "percent-encoded",
		"smtp://mail.example.com/inbox":        "is not smtp://",
		"smtp://mail.example.com:0":            "no port",
		"smtp://mail.example.com:99999":        "no port",
		"smtp://mail.example.com?tls=yes":      "tls is required",
		"smtp://mail.example.com?timeout=1":    "other than tls",
		"smtps://mail.example.com?tls=none":    "always uses TLS",
		"smtp://u:s3cret@mail.example.com:abc": "is not smtp://",
	} {
		_, err := mail.NewSMTP(mail.Config{SMTPURL: secret.New(url), From: "a@b.test"})
		require.ErrorContains(t, err, says, url)
		require.NotContains(t, err.Error(), "s3cret")
		require.NotContains(t, err.Error(), "sec%ret")
	}
	for _, from := range []string{"", "nobody", "a@b.test, c@d.test", "a@b.test\r\nBcc: e@x.test"} {
		_, err := mail.NewSMTP(mail.Config{SMTPURL: secret.New("smtp://localhost"), From: from})
		require.ErrorContains(t, err, "UMS_MAIL_FROM", from)
	}
}
