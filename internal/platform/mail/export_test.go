package mail

import "crypto/x509"

// Trust makes the test server's certificate acceptable.
func (s *SMTP) Trust(roots *x509.CertPool) *SMTP {
	s.tls.RootCAs = roots
	return s
}
