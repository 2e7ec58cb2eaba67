// Package mailtest is a real SMTP server for tests: it keeps what it takes, parsed, and fails on demand.
package mailtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Failure is a way in which the server refuses.
type Failure int

// The failures, in the order in which a delivery meets them.
const (
	None             Failure = iota
	RefuseConnection         // 421 to EHLO and HELO
	TemporaryAtRcpt          // 451 to RCPT TO
	PermanentAtRcpt          // 550 to RCPT TO
	TemporaryAtData          // 451 to the content
	PermanentAtData          // 554 to the content
	DropAfterData            // takes the content, then cuts the connection before its 250
	HangAfterData            // takes the content and never answers
	Unauthenticated          // 554 to MAIL FROM because of who we are (530)
)

// Server is a running SMTP server. Its methods are safe for concurrent use.
type Server struct {
	host     string
	port     string
	smtp     *smtp.Server
	user     string
	password string
	scheme   string
	roots    *x509.CertPool
	closed   chan struct{}

	mu       sync.Mutex
	messages []Message
	changed  chan struct{} // closed and replaced at each new message
	failure  Failure
	failing  int // how many more deliveries fail; below 0: all
	refused  int

	turnedAway map[*smtp.Conn]bool
}

// Option sets the server up.
type Option func(*Server)

// WithAuth demands these credentials (PLAIN; without TLS too, so that a client's own caution is what a test sees).
func WithAuth(user, password string) Option {
	return func(s *Server) { s.user, s.password = user, password }
}

// WithSTARTTLS offers STARTTLS with a certificate of Roots.
func WithSTARTTLS() Option {
	return func(s *Server) { s.smtp.TLSConfig = s.certificate() }
}

// WithTLS speaks TLS from the first byte.
func WithTLS() Option {
	return func(s *Server) { s.scheme, s.smtp.TLSConfig = "smtps", s.certificate() }
}

// NewServer starts a server on a free port of 127.0.0.1 and stops it when the test ends.
func NewServer(t testing.TB, options ...Option) *Server {
	t.Helper()
	s := &Server{scheme: "smtp", changed: make(chan struct{}), closed: make(chan struct{}), turnedAway: map[*smtp.Conn]bool{}}
	s.smtp = smtp.NewServer(smtp.BackendFunc(s.session))
	s.smtp.Domain = "mail.test"
	s.smtp.AllowInsecureAuth = true
	s.smtp.ReadTimeout, s.smtp.WriteTimeout = time.Minute, time.Minute
	s.smtp.ErrorLog = silent{}
	for _, o := range options {
		o(s)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	s.host, s.port, _ = net.SplitHostPort(listener.Addr().String())
	if s.scheme == "smtps" {
		listener = tls.NewListener(listener, s.smtp.TLSConfig)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.smtp.Serve(listener)
	}()
	t.Cleanup(func() {
		close(s.closed)
		_ = s.smtp.Close()
		_ = listener.Close() // in case Serve had not begun and the line above did not know of it
		<-served
	})
	return s
}

// URL is what UMS_SMTP_URL takes: with the credentials, without a tls parameter.
func (s *Server) URL() string {
	at := ""
	if s.user != "" {
		at = s.user + ":" + s.password + "@"
	}
	return s.scheme + "://" + at + net.JoinHostPort(s.host, s.port)
}

// Roots is what a client must trust to accept the server's certificate; nil without TLS.
func (s *Server) Roots() *x509.CertPool { return s.roots }

// Fail lets the next n deliveries fail; n < 0: all until Recover.
func (s *Server) Fail(f Failure, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure, s.failing = f, n
}

// Recover ends a failure.
func (s *Server) Recover() { s.Fail(None, 0) }

// Refused counts the deliveries that failed on demand.
func (s *Server) Refused() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

// Messages returns what the server took so far, in order, those of an ambiguous cut included.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.messages...)
}

// To returns the messages for one recipient.
func (s *Server) To(address string) []Message {
	var found []Message
	for _, m := range s.Messages() {
		if m.To == address {
			found = append(found, m)
		}
	}
	return found
}

// Wait returns the first message for which match holds, those that are already there included, or ctx's error.
func (s *Server) Wait(ctx context.Context, match func(Message) bool) (Message, error) {
	seen := 0
	for {
		s.mu.Lock()
		arrived, changed := s.messages[seen:], s.changed
		s.mu.Unlock()
		for _, m := range arrived {
			if match(m) {
				return m, nil
			}
		}
		seen += len(arrived)
		select {
		case <-changed:
		case <-ctx.Done():
			return Message{}, ctx.Err()
		}
	}
}

// WaitFor returns the n-th message (1 = first) for address, and fails the test when it does not come within 10 s.
func (s *Server) WaitFor(t testing.TB, address string, n int) Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	m, err := s.Wait(ctx, func(m Message) bool {
		if m.To == address {
			n--
		}
		return m.To == address && n == 0
	})
	if err != nil {
		t.Fatalf("no mail for %s in time (%d messages in all)", address, len(s.Messages()))
	}
	return m
}

// fails says whether this delivery fails in this way, and counts it.
func (s *Server) fails(candidates ...Failure) Failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range candidates {
		if s.failing != 0 && s.failure == f {
			s.failing--
			s.refused++
			return f
		}
	}
	return None
}

func (s *Server) keep(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, m)
	close(s.changed)
	s.changed = make(chan struct{})
}

// refusing says whether this connection was refused before: a client tries HELO after a refused EHLO.
func (s *Server) refusing(c *smtp.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turnedAway[c]
}

func (s *Server) session(c *smtp.Conn) (smtp.Session, error) {
	if s.refusing(c) || s.fails(RefuseConnection) != None {
		s.mu.Lock()
		s.turnedAway[c] = true
		s.mu.Unlock()
		return nil, &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 3, 2}, Message: "Shutting down"}
	}
	return &session{server: s, conn: c}, nil
}

type session struct {
	server        *Server
	conn          *smtp.Conn
	authenticated bool
	from          string
	to            []string
}

func (s *session) AuthMechanisms() []string {
	if s.server.user == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != s.server.user || password != s.server.password {
			return smtp.ErrAuthFailed
		}
		s.authenticated = true
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.server.user != "" && !s.authenticated {
		return smtp.ErrAuthRequired
	}
	if s.server.fails(Unauthenticated) != None {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Authentication required"}
	}
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	switch s.server.fails(TemporaryAtRcpt, PermanentAtRcpt) {
	case TemporaryAtRcpt:
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 2, 0}, Message: "Greylisted: " + to}
	case PermanentAtRcpt:
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "Unknown user: " + to}
	default:
	}
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m, err := parse(raw)
	if err != nil {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "Not a message: " + err.Error()}
	}
	m.From, m.Recipients = s.from, s.to
	if len(s.to) > 0 {
		m.To = s.to[0]
	}
	_, m.TLS = s.conn.TLSConnectionState()
	switch s.server.fails(TemporaryAtData, PermanentAtData, DropAfterData, HangAfterData) {
	case TemporaryAtData:
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Try later"}
	case PermanentAtData:
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "Refused for " + m.To}
	case DropAfterData:
		s.server.keep(m)
		_ = s.conn.Conn().Close()
		return errors.New("cut")
	case HangAfterData:
		s.server.keep(m)
		<-s.server.closed
		return errors.New("closed")
	default:
		s.server.keep(m)
		return nil
	}
}

func (s *session) Reset() { s.from, s.to = "", nil }

func (s *session) Logout() error { return nil }

// silent drops the server's log: cut connections are what the tests are about.
type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}
