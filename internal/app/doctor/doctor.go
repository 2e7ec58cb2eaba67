// Package doctor looks at what the service depends on as an operator would, and says what to do about each thing that is
// not as it should be. It changes nothing, sends no mail, and prints no secret.
package doctor

import (
	"context"
	"log/slog"
	"time"

	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Status says how a thing is.
type Status string

// The statuses. Only Fail makes a report not OK.
const (
	OK   Status = "ok"
	Warn Status = "warn" // works, and should be changed
	Fail Status = "fail" // does not work, or is not safe
	Skip Status = "skip" // could not be looked at, because of another finding or because there is none
)

// Finding is one thing that was looked at.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Says   string `json:"says"`
	Do     string `json:"do,omitzero"` // what to do, when there is something
}

// Report is what the doctor found, in a fixed order.
type Report struct {
	OK       bool      `json:"ok"`
	Findings []Finding `json:"findings"`
}

// Failed counts what does not work.
func (r Report) Failed() (n int) {
	for _, f := range r.Findings {
		if f.Status == Fail {
			n++
		}
	}
	return n
}

// Options is what the doctor is told beside the configuration.
type Options struct {
	Unknown   []string               // variables that nothing reads
	Now       func() time.Time       // nil = this machine's clock
	FileLimit func() (uint64, error) // nil = the process's
}

// patience bounds each check, so that a report comes whatever hangs.
const patience = 10 * time.Second

type doctor struct {
	cfg     *config.Config
	options Options
	log     *slog.Logger

	ring *keyring.Ring  // nil: there is none
	pool *postgres.Pool // nil: the database cannot be worked with

	findings []Finding
}

// Run looks at everything.
func Run(ctx context.Context, cfg *config.Config, o Options) Report {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.FileLimit == nil {
		o.FileLimit = fileLimit
	}
	d := &doctor{cfg: cfg, options: o, log: slog.New(slog.DiscardHandler)}
	for _, look := range []func(context.Context){
		d.configuration, d.database, d.masterKey, d.mail, d.redis, d.publicURL, d.origins, d.passkeys, d.files,
	} {
		cctx, cancel := context.WithTimeout(ctx, patience)
		look(cctx)
		cancel()
	}
	if d.pool != nil {
		d.pool.Close()
	}
	r := Report{Findings: d.findings}
	r.OK = r.Failed() == 0
	return r
}

func (d *doctor) say(check string, status Status, says, do string) {
	d.findings = append(d.findings, Finding{check, status, says, do})
}

func (d *doctor) ok(check, says string) { d.say(check, OK, says, "") }

func (d *doctor) configuration(context.Context) {
	for _, name := range d.options.Unknown {
		d.say("configuration", Warn, name+" is set and nothing reads it", "correct its name, or remove it; docs/operations/configuration.md lists all")
	}
	s := d.cfg.Service
	switch {
	case s.Development() && s.DevRemote:
		d.say("configuration", Warn, "UMS_ENV=development with UMS_DEV_REMOTE: whoever reaches "+s.HTTPAddr+" reads every mail",
			"set UMS_ENV=production, unless you trust everybody on that network")
	case s.Development():
		d.ok("configuration", "development: shortcuts are open, on "+s.HTTPAddr+" alone")
	default:
		d.ok("configuration", "production")
	}
	if d.cfg.Passwords.Weak() && !s.Development() {
		d.say("configuration", Warn, "UMS_ARGON2_* are below what OWASP recommends", "leave them unset")
	}
	if d.cfg.Throttle.Login.Off() && !s.Development() {
		d.say("configuration", Warn, "UMS_RATE_LIMIT_LOGIN=off: passwords can be guessed without end", "leave it unset")
	}
}
