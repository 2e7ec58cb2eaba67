package mailtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"regexp"
	"strings"
	"time"
)

// Message is a mail as it arrived.
type Message struct {
	From       string   // envelope
	To         string   // envelope, the first recipient
	Recipients []string // envelope, all of them
	TLS        bool     // the connection was encrypted
	Header     netmail.Header
	Subject    string // decoded
	Text       string // decoded text/plain part, lines end with LF
	HTML       string // decoded text/html part
	Raw        string
}

var (
	tokenPattern = regexp.MustCompile(`#token=([A-Za-z0-9_-]+)`)
	codePattern  = regexp.MustCompile(`(?m)^\s*(\d{8})\s*$`)
)

// Token returns the one-time token of the link in the text part, or "".
func (m Message) Token() string { return first(tokenPattern, m.Text) }

// Code returns the 8-digit code, which stands on a line of its own in the text part, or "".
func (m Message) Code() string { return first(codePattern, m.Text) }

func first(pattern *regexp.Regexp, text string) string {
	if found := pattern.FindStringSubmatch(text); found != nil {
		return found[1]
	}
	return ""
}

func parse(raw []byte) (Message, error) {
	m := Message{Raw: string(raw)}
	parsed, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return m, fmt.Errorf("header: %w", err)
	}
	m.Header = parsed.Header
	if m.Subject, err = new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject")); err != nil {
		return m, fmt.Errorf("subject: %w", err)
	}
	kind, params, err := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		return m, fmt.Errorf("content type %q (%w)", kind, err)
	}
	parts := multipart.NewReader(parsed.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return m, nil
		}
		if err != nil {
			return m, fmt.Errorf("part: %w", err)
		}
		if encoding := part.Header.Get("Content-Transfer-Encoding"); encoding != "quoted-printable" {
			return m, fmt.Errorf("transfer encoding %q", encoding)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			return m, fmt.Errorf("part: %w", err)
		}
		text := strings.ReplaceAll(string(body), "\r\n", "\n")
		switch contentType := part.Header.Get("Content-Type"); contentType {
		case "text/plain; charset=UTF-8":
			m.Text = text
		case "text/html; charset=UTF-8":
			m.HTML = text
		default:
			return m, fmt.Errorf("part of type %q", contentType)
		}
	}
}

// certificate makes a self-signed certificate for 127.0.0.1, which Roots holds afterwards.
func (s *Server) certificate() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	s.roots = x509.NewCertPool()
	s.roots.AddCert(leaf)
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}},
	}
}
