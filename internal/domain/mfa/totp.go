package mfa

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"image/png"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/user-management-service/ums/internal/platform/secret"
)

// TOTP as every authenticator app does it (RFC 6238): SHA-1, six digits, steps of 30 seconds, one step of skew each way.
const (
	period     = 30 // seconds
	skew       = 1  // steps
	secretSize = 20 // bytes, as RFC 4226 recommends
	qrSize     = 320
)

// Enrolment is a new factor, to be shown once.
type Enrolment struct {
	Factor
	Secret secret.Text // base32
	URI    secret.Text // otpauth://totp/…
	QR     secret.Text // the same as a picture: a data URL of a PNG
}

// newSecret makes a secret and its forms for people. Issuer and account are what an authenticator app shows.
func newSecret(issuer, account string) (raw []byte, e Enrolment, err error) {
	raw = make([]byte, secretSize)
	rand.Read(raw) // never fails: it ends the program instead
	shared := base32Secret(raw)
	// By hand: otp.Generate leaves & as it is.
	issuer, account = label(issuer), label(account)
	query := url.Values{"secret": {shared}, "issuer": {issuer}, "algorithm": {"SHA1"}, "digits": {"6"}, "period": {strconv.Itoa(period)}}
	uri := url.URL{
		Scheme: "otpauth", Host: "totp", Path: "/" + issuer + ":" + account,
		RawQuery: strings.ReplaceAll(query.Encode(), "+", "%20"), // apps show a plus sign
	}
	key, err := otp.NewKeyFromURL(uri.String())
	if err != nil {
		return nil, e, fmt.Errorf("make TOTP key: %w", err)
	}
	picture, err := key.Image(qrSize, qrSize)
	if err != nil {
		return nil, e, fmt.Errorf("draw TOTP key: %w", err)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		return nil, e, fmt.Errorf("draw TOTP key: %w", err)
	}
	e.Secret, e.URI = secret.New(shared), secret.New(uri.String())
	e.QR = secret.New("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes()))
	return raw, e, nil
}

// label is a name without the colon that parts issuer and account.
func label(s string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(s, ":", " ")), " ")
}

func base32Secret(raw []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw)
}

// match returns the time step of a code that is good at this moment and newer than last, the step of the newest code that
// was used. Every step of the window is tried, so that the time tells nothing.
func match(raw []byte, code string, at time.Time, last int64) (step int64, ok bool) {
	code = strings.NewReplacer(" ", "", "-", "").Replace(code)
	shared := base32Secret(raw)
	now := at.Unix() / period
	for n := max(now-skew, 0); n <= now+skew; n++ {
		want, err := hotp.GenerateCodeCustom(shared, uint64(n), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err != nil {
			return 0, false // only for a secret that is no base32
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 && n > last {
			step, ok = n, true
		}
	}
	return step, ok
}
