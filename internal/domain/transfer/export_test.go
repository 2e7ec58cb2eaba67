package transfer

import "github.com/go-json-experiment/json"

// Reread is a line of an account as an export would write it again.
func Reread(s *Service, text []byte) ([]byte, error) {
	var l userLine
	if err := decode(text, &l); err != nil {
		return nil, err
	}
	c, err := s.read(&l)
	if err != nil {
		return nil, err
	}
	return json.Marshal(c.line(true), json.Deterministic(true))
}
