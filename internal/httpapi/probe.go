package httpapi

import (
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"time"

	"github.com/user-management-service/ums/internal/httpapi/middleware"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/keyring"
)

// A probe is how `ums doctor` asks a running service, through whatever stands between, which address it sees. Only who has the master
// key can make one, and it is good for a minute.
const (
	ProbeHeader  = "Ums-Probe"
	probePurpose = "doctor-probe"
	probeLife    = time.Minute
	probeSize    = 8 + 32
)

// Probe makes one: the time, and the time's MAC.
func Probe(ring *keyring.Ring, now time.Time) string {
	at := binary.BigEndian.AppendUint64(nil, uint64(now.Unix())) //nolint:gosec // years after 1970
	return base64.RawURLEncoding.EncodeToString(append(at, ring.MAC(probePurpose, at)...))
}

// Prober recognises probes.
type Prober struct {
	Ring  *keyring.Ring
	Clock clock.Clock
}

func (p Prober) accepts(r *http.Request) bool {
	text := r.Header.Get(ProbeHeader)
	if text == "" || p.Ring == nil {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) != probeSize || !p.Ring.CheckMAC(probePurpose, raw[8:], raw[:8]) {
		return false
	}
	age := p.Clock.Now().Sub(time.Unix(int64(binary.BigEndian.Uint64(raw)), 0)).Abs() //nolint:gosec // we wrote it
	return age <= probeLife
}

// Seen is what a probe is told: where it came from, by the connection and by what proxies say.
type Seen struct {
	Client    string   `json:"client"`    // whom limits and the audit log take it for
	Peer      string   `json:"peer"`      // the other end of the connection
	Forwarded []string `json:"forwarded"` // the lines of X-Forwarded-For
}

func seen(r *http.Request) *Seen {
	return &Seen{
		Client: middleware.RecordFrom(r.Context()).ClientIP.String(), Peer: middleware.Peer(r).String(),
		Forwarded: append([]string{}, r.Header.Values("X-Forwarded-For")...),
	}
}
