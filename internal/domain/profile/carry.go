package profile

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/platform/id"
)

// Compose returns the profile that these changes make of an empty one, or what is wrong with it, all of it. It asks no
// database.
func (s *Service) Compose(owner id.ID, c Changes) (*Profile, error) {
	p := &Profile{UserID: owner, Visibility: Private, Attributes: jsontext.Value("{}"), Version: 2}
	if err := p.apply(c, s.clock.Now(), p.Attributes, s.schema); err != nil {
		return nil, err
	}
	return p, nil
}
