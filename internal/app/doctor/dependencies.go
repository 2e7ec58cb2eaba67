package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/user-management-service/ums/internal/domain/signing"
	"github.com/user-management-service/ums/internal/domain/upkeep"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/mail"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
)

// slowRedis is what a request should not wait for its limits.
const slowRedis = 20 * time.Millisecond

// masterKey holds the key against what it has to open.
func (d *doctor) masterKey(ctx context.Context) {
	s := d.cfg.Service
	if s.Development() && !keyring.Made(d.cfg.Keys, s.DataDir) {
		d.say("master key", Skip, "there is none yet: the first start makes one in "+s.DataDir, "")
		return
	}
	ring, err := keyring.Load(d.cfg.Keys, s.DataDir, s.Development())
	if err != nil {
		d.say("master key", Fail, flat(err), "give the key that the service has had; a new one opens nothing that is stored (docs/operations/master-key.md)")
		return
	}
	d.ring = ring
	if d.pool == nil {
		d.say("master key", Skip, "it is a key; what it has to open cannot be read now", "")
		return
	}
	all, err := upkeep.AllSealed(ctx, d.pool)
	if err != nil {
		d.say("master key", Fail, flat(err), "")
		return
	}
	lost, old := upkeep.Judge(ring, all)
	if len(lost) > 0 {
		d.say("master key", Fail, "a key that UMS_MASTER_KEY does not list sealed "+counted(lost),
			"append the key of before: UMS_MASTER_KEY=new,old (docs/operations/master-key.md). If it is lost for good, so are these: ums keys rotate --now makes a signing key, people sign in and enrol anew")
		return
	}
	keys := signing.New(signing.Deps{
		Config: d.cfg.Signing, DB: d.pool, Ring: ring, Bus: postgres.NewBus(d.log), Algorithm: d.cfg.Tokens.Algorithm, Clock: clock.System{}, Log: d.log,
	})
	if err := keys.Load(ctx); err != nil {
		d.say("master key", Fail, flat(err), "the stored key is damaged: ums keys rotate --now")
		return
	}
	if len(old) > 0 {
		d.say("master key", Warn, "it opens all; a key that is not the first one sealed "+counted(old), "keep that key in the list until nothing needs it: docs/operations/master-key.md")
		return
	}
	d.ok("master key", "it opens what is stored")
}

func counted(all []upkeep.Sealed) string {
	parts := make([]string, len(all))
	for i, s := range all {
		parts[i] = fmt.Sprintf("%d %s", s.Count, s.What)
	}
	return strings.Join(parts, ", ")
}

// mail signs in at the mail server.
func (d *doctor) mail(ctx context.Context) {
	if d.cfg.Mail.SMTPURL.Empty() {
		if d.cfg.Service.Development() {
			d.ok("mail", "none is sent: the mailbox is at /dev/mail")
			return
		}
		d.say("mail", Fail, "UMS_SMTP_URL is empty", "set it: smtp://user:password@host:587")
		return
	}
	sender, err := mail.NewSMTP(d.cfg.Mail)
	if err != nil {
		d.say("mail", Fail, flat(err), "correct it")
		return
	}
	if err := sender.Check(ctx); err != nil {
		d.say("mail", Fail, flat(err), "try host, port and password of UMS_SMTP_URL from this machine; ?tls=none is for a server without TLS on a network that you trust")
		return
	}
	if !d.cfg.Service.Development() && strings.HasSuffix(strings.Trim(d.cfg.Mail.From, ">"), "@localhost") {
		d.say("mail", Warn, "the server lets us in; the sender is "+d.cfg.Mail.From+", which others refuse", "set UMS_MAIL_FROM to an address of your domain")
		return
	}
	d.ok("mail", "the server lets us in; no mail was sent")
}

// redis asks for a decision, as each request does.
func (d *doctor) redis(ctx context.Context) {
	if d.cfg.Limits.RedisURL.Empty() {
		d.ok("redis", "none: each replica counts its requests alone")
		return
	}
	f, err := ratelimit.Inspect(ctx, d.cfg.Limits)
	switch {
	case err != nil:
		d.say("redis", Fail, flat(err), "try UMS_REDIS_URL from this machine; meanwhile each replica counts alone (docs/operations/scaling.md)")
	case f.Bounded && f.Policy == "noeviction":
		d.say("redis", Warn, "Redis "+f.Version+" refuses writes when it is full", "set maxmemory-policy allkeys-lru: what is stored is lost without harm")
	case f.Took > slowRedis:
		d.say("redis", Warn, fmt.Sprintf("Redis %s takes %s for a decision, which each request waits for", f.Version, f.Took.Round(time.Millisecond)), "put it nearer")
	default:
		d.ok("redis", fmt.Sprintf("Redis %s decides in %s", f.Version, f.Took.Round(100*time.Microsecond)))
	}
}
