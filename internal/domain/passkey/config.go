package passkey

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/go-webauthn/webauthn/protocol"
)

// Config is to whom passkeys belong and from where they may be used.
type Config struct {
	// RPID is the domain that passkeys belong to: it, and what lies below it, can use them. Changing it loses all.
	RPID    string  `env:"UMS_PASSKEY_RP_ID"`
	Origins Origins `env:"UMS_PASSKEY_ORIGINS"`
}

// Origins is a list of web origins, "https://app.example.com, https://example.com".
type Origins []string

// UnmarshalText reads Origins from the configuration.
func (o *Origins) UnmarshalText(value []byte) error {
	*o = nil
	for text := range strings.SplitSeq(string(value), ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" || text != u.Scheme+"://"+u.Host || text != strings.ToLower(text) {
			return fmt.Errorf("%q is no origin: write it like https://app.example.com, in lower case, without a path", text)
		}
		*o = append(*o, text)
	}
	return nil
}

// Site is what the rest of the configuration says about where the service is.
type Site struct {
	PublicURL   string
	CORSOrigins []string
	ProductName string
	Development bool
}

// RelyingParty is the configuration, complete. Without origins passkeys are not offered.
type RelyingParty struct {
	id, name    string
	origins     []string
	development bool
}

// For completes the configuration: without an RP ID it is the public URL's host, without origins those of the public URL
// and of CORS that can use such passkeys. What was named must fit: an RP ID that is no domain name, or an origin that
// browsers refuse it, is an error that names its variable.
func (c Config) For(s Site) (RelyingParty, error) {
	public, err := url.Parse(s.PublicURL)
	if err != nil {
		return RelyingParty{}, errors.New("UMS_PASSKEY_RP_ID follows from UMS_PUBLIC_URL, which is no URL")
	}
	rp := RelyingParty{id: c.RPID, name: s.ProductName, development: s.Development}
	if rp.id == "" {
		if rp.id = strings.ToLower(public.Hostname()); !domain(rp.id) {
			if len(c.Origins) == 0 {
				return RelyingParty{}, nil // reached by a number alone: no passkey can belong to that
			}
			return RelyingParty{}, errors.New("UMS_PASSKEY_ORIGINS needs UMS_PASSKEY_RP_ID, since UMS_PUBLIC_URL has no host name")
		}
	} else if !domain(rp.id) {
		return RelyingParty{}, fmt.Errorf("UMS_PASSKEY_RP_ID is %q; use a domain name like example.com, in lower case", rp.id)
	}
	if len(c.Origins) == 0 {
		candidates := append([]string{strings.ToLower(public.Scheme + "://" + public.Host)}, s.CORSOrigins...)
		rp.origins = slices.DeleteFunc(candidates, func(o string) bool { return rp.admits(o) != nil })
		if len(rp.origins) == 0 && c.RPID != "" {
			return RelyingParty{}, fmt.Errorf("UMS_PASSKEY_RP_ID: neither UMS_PUBLIC_URL nor an origin of UMS_CORS_ORIGINS is https on %s or below it", rp.id)
		}
		return rp, nil
	}
	rp.origins = c.Origins
	var errs []error
	for _, o := range c.Origins {
		if err := rp.admits(o); err != nil {
			errs = append(errs, fmt.Errorf("UMS_PASSKEY_ORIGINS: %w", err))
		}
	}
	return rp, errors.Join(errs...)
}

// domain says whether a name can be an RP ID.
func domain(name string) bool {
	_, err := netip.ParseAddr(name)
	return err != nil && name == strings.ToLower(name) && protocol.ValidateRPID(name) == nil
}

// admits says why browsers would refuse the origin passkeys of this RP ID (WebAuthn Level 3, sections 5.1.3 and 13.4.9).
func (rp RelyingParty) admits(origin string) error {
	u, err := url.Parse(origin)
	if err != nil {
		return fmt.Errorf("%q is no origin", origin)
	}
	host := u.Hostname()
	if host != rp.id && !strings.HasSuffix(host, "."+rp.id) {
		return fmt.Errorf("%s is neither on %s (UMS_PASSKEY_RP_ID) nor below it", origin, rp.id)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || host != "localhost" && !strings.HasSuffix(host, ".localhost")) {
		return fmt.Errorf("%s: browsers offer passkeys over https alone, but for localhost", origin)
	}
	return nil
}

// local says whether the origin is a page of this machine, which may use passkeys in development whatever its port is.
func (rp RelyingParty) local(origin string) bool {
	u, err := url.Parse(origin)
	return rp.development && rp.id == "localhost" && err == nil && u.Scheme == "http" && u.Hostname() == "localhost" && origin == "http://"+u.Host
}

// Offered says whether passkeys can be used here at all.
func (rp RelyingParty) Offered() bool { return len(rp.origins) > 0 }

// Origins lists the pages that may use them.
func (rp RelyingParty) Origins() []string { return slices.Clone(rp.origins) }

// ID is the relying party id, or "" when passkeys are not offered.
func (rp RelyingParty) ID() string {
	if !rp.Offered() {
		return ""
	}
	return rp.id
}
