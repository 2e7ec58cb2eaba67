package verify

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"
)

const (
	maxToken = 8192 // bytes; the service makes tokens of 2 KiB at most
	leeway   = 30 * time.Second
	maxDate  = 253402300799 // the end of the year 9999, so that arithmetic on dates cannot overflow
)

// claims are those of an access token (RFC 9068, section 2.2) that mean something here.
type claims struct {
	Issuer       string   `json:"iss"`
	Subject      string   `json:"sub"`
	Audience     audience `json:"aud"`
	ClientID     string   `json:"client_id"`
	ID           string   `json:"jti"`
	SessionID    string   `json:"sid"`
	IssuedAt     int64    `json:"iat"`
	NotBefore    int64    `json:"nbf"`
	ExpiresAt    int64    `json:"exp"`
	AuthTime     int64    `json:"auth_time"`
	ACR          string   `json:"acr"`
	AMR          []string `json:"amr"`
	Roles        []string `json:"roles"`
	RolesOmitted bool     `json:"roles_omitted"`
}

// audience is a string or an array of strings (RFC 7519, section 4.1.3).
type audience []string

// UnmarshalJSON reads both forms.
func (a *audience) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		*a = make(audience, 1)
		return json.Unmarshal(text, &(*a)[0])
	}
	return json.Unmarshal(text, (*[]string)(a))
}

// Token returns whom an access token speaks for: one that the service signed with a published key, for this audience, and
// that is valid now (RFC 9068, section 4). The error is a *Refusal: 401 invalid_access_token for every bad token, 503 when
// the keys cannot be read.
func (v *Verifier) Token(ctx context.Context, text string) (*Principal, error) {
	signed, header, body, signature, ok := split(text)
	if !ok {
		return nil, errToken
	}
	// Other members would mean another format, or another key: jwk, jku, x5u, x5c, crit, b64, zip, cty (RFC 8725, section 3.10).
	var h struct {
		Alg string `json:"alg"`
		Typ string `json:"typ"`
		Kid string `json:"kid"`
	}
	dec := json.NewDecoder(bytes.NewReader(header))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&h); err != nil {
		return nil, errToken
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) || !typed(h.Typ) || h.Kid == "" {
		return nil, errToken
	}
	key, known, err := v.keys.get(ctx, h.Kid)
	if err != nil {
		v.cfg.Logger.ErrorContext(ctx, "access token not verified", "error", err)
		return nil, errUnavailable
	}
	if !known || h.Alg != key.algorithm || !key.verify([]byte(signed), signature) {
		return nil, errToken
	}
	var c claims
	if err := json.Unmarshal(body, &c); err != nil || !v.holds(c) {
		return nil, errToken
	}
	p := &Principal{
		UserID: c.Subject, SessionID: c.SessionID, AuthTime: time.Unix(c.AuthTime, 0).UTC(), ACR: c.ACR, AMR: c.AMR,
		Roles: c.Roles, RolesOmitted: c.RolesOmitted, ExpiresAt: time.Unix(c.ExpiresAt, 0).UTC(),
	}
	for _, role := range c.Roles {
		p.Permissions = append(p.Permissions, v.cfg.RolePermissions[role]...)
	}
	return p, nil
}

// holds says whether the claims are whole, of the issuer, for this audience, and valid now.
func (v *Verifier) holds(c claims) bool {
	now := v.cfg.Now()
	if slices.Contains([]string{c.Subject, c.ClientID, c.ID, c.SessionID}, "") {
		return false
	}
	for _, d := range []int64{c.IssuedAt, c.ExpiresAt, c.AuthTime, max(c.NotBefore, 1)} {
		if d <= 0 || d > maxDate {
			return false
		}
	}
	return c.NotBefore >= 0 && c.Issuer == v.cfg.Issuer && slices.Contains(c.Audience, v.cfg.Audience) &&
		!now.After(time.Unix(c.ExpiresAt, 0).Add(leeway)) && !time.Unix(max(c.IssuedAt, c.NotBefore), 0).After(now.Add(leeway))
}

// split cuts a compact JWS (RFC 7515, section 7.1) into its signing input and decoded parts. Each part has exactly one
// spelling: Go's decoder skips CR and LF even when it is strict, hence the look for them.
func split(text string) (signed string, header, body, signature []byte, ok bool) {
	parts := strings.Split(text[:min(len(text), maxToken+1)], ".")
	if len(text) > maxToken || len(parts) != 3 || strings.ContainsAny(text, "\r\n") {
		return "", nil, nil, nil, false
	}
	var errs [3]error
	enc := base64.RawURLEncoding.Strict()
	header, errs[0] = enc.DecodeString(parts[0])
	body, errs[1] = enc.DecodeString(parts[1])
	signature, errs[2] = enc.DecodeString(parts[2])
	return parts[0] + "." + parts[1], header, body, signature, errs == [3]error{}
}

// typed says whether typ names an access token (RFC 9068, section 2.1): a media type, whose "application/" may be left out.
func typed(name string) bool {
	return strings.EqualFold(name, "at+jwt") || strings.EqualFold(name, "application/at+jwt")
}
