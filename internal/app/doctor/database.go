package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/internal/platform/token"
	"github.com/user-management-service/ums/migrations"
)

const (
	minPostgres = 14
	smallSkew   = 2 * time.Second

	// besidePool are the connections of a replica that are not the pool's: the listener's, the migrations', and one to spare.
	besidePool = 3
)

// appendOnly are the tables of the audit log.
var appendOnly = []string{"audit_events", "audit_personal"}

func (d *doctor) database(ctx context.Context) {
	db := d.cfg.Database
	if db.URL.Empty() {
		d.say("database", Skip, "UMS_DATABASE_URL is empty: the service brings its own PostgreSQL, in "+d.cfg.Service.DataDir, "")
		return
	}
	pool, reached := d.reach(ctx, "UMS_DATABASE_URL", db.URL)
	owner := pool
	if db.TwoURLs() {
		var ownerReached bool
		owner, ownerReached = d.reach(ctx, "UMS_DATABASE_DIRECT_URL", db.DirectURL)
		if reached && ownerReached && pool.Identity != owner.Identity {
			d.say("database", Fail, "UMS_DATABASE_URL and UMS_DATABASE_DIRECT_URL lead to different databases", "point both at the same one; the second past the pooler")
			return
		}
		reached = reached && ownerReached
	}
	if !reached {
		d.say("roles", Skip, "the database cannot be reached", "")
		return
	}
	d.clock(pool)
	if d.roles(ctx, pool, owner) && d.migrations(ctx) {
		d.open(ctx)
	}
	d.connections(pool)
}

// reach says whether a URL leads to a server that can serve.
func (d *doctor) reach(ctx context.Context, variable string, dsn secret.Text) (postgres.Facts, bool) {
	f, err := postgres.Inspect(ctx, dsn, d.options.Now)
	if err != nil {
		d.say("database", Fail, fmt.Sprintf("%s: %s", variable, flat(err)), "is PostgreSQL running there, does a firewall let this machine through, are user and password right?")
		return f, false
	}
	switch {
	case f.Major < minPostgres:
		d.say("database", Fail, fmt.Sprintf("PostgreSQL %s is too old", f.Version), fmt.Sprintf("upgrade it to %d or later", minPostgres))
	case f.ReadOnly:
		d.say("database", Fail, f.Place+" is read-only: a standby, or set so", "point "+variable+" at the primary, or list all hosts: postgres://a,b/ums?target_session_attrs=read-write")
	case !f.Encrypted && !f.Socket && !d.cfg.Service.Development() && !loopbackHost(f.Place):
		d.say("database", Warn, fmt.Sprintf("PostgreSQL %s as %s at %s, without TLS", f.Version, f.User, f.Place), "append ?sslmode=verify-full to "+variable+", unless nobody can listen in between")
	default:
		d.ok("database", fmt.Sprintf("PostgreSQL %s as %s at %s", f.Version, f.User, f.Place))
	}
	return f, f.Major >= minPostgres && !f.ReadOnly
}

func (d *doctor) clock(f postgres.Facts) {
	skew := f.Skew.Abs()
	says := fmt.Sprintf("the database's clock is %s from this machine's (± %s)", skew.Round(time.Millisecond), f.Uncertain.Round(time.Millisecond))
	do := "let both machines take their time from the same source (chrony, systemd-timesyncd)"
	switch skew -= f.Uncertain; {
	case skew > token.Leeway:
		d.say("clock", Fail, says+": access tokens are refused as not yet valid, or live too long", do)
	case skew > smallSkew:
		d.say("clock", Warn, says, do)
	default:
		d.ok("clock", says)
	}
}

// roles says whether the pool can work as the service's role, and that role may do what it must and nothing else.
func (d *doctor) roles(ctx context.Context, pool, owner postgres.Facts) bool {
	r, err := postgres.InspectRights(ctx, d.cfg.Database.Direct(), appendOnly...)
	if err != nil {
		d.say("roles", Fail, flat(err), "is the schema in order? see ums migrate status")
		return false
	}
	findings := judgeRoles(r, d.cfg.Database.TwoURLs(), pool.User, owner.User)
	works := true
	for _, f := range findings {
		d.findings = append(d.findings, f)
		works = works && f.Status != Fail
	}
	return works
}

func judgeRoles(r postgres.Rights, twoURLs bool, worker, owner string) (all []Finding) {
	say := func(status Status, says, do string) { all = append(all, Finding{"roles", status, says, do}) }
	app := postgres.AppRole
	if !r.Exists {
		say(Warn, "the role "+app+" is not there yet", "the first migration makes it, if "+owner+" may create roles; else run as an administrator: CREATE ROLE "+app+" NOLOGIN; GRANT "+app+" TO "+owner)
		return all
	}
	if twoURLs && worker != app {
		say(Fail, "UMS_DATABASE_URL works as "+worker+", not as "+app, "let it be a login of "+app+", or leave UMS_DATABASE_DIRECT_URL empty")
	}
	if twoURLs && owner == app {
		say(Fail, "UMS_DATABASE_DIRECT_URL works as "+app+", who cannot migrate", "let it be a login of the tables' owner")
	}
	if !r.Member && owner != app {
		say(Fail, owner+" may not become "+app, "as an administrator: GRANT "+app+" TO "+owner)
	}
	if len(r.Powers) > 0 {
		say(Fail, app+" is "+strings.Join(r.Powers, ", ")+": the audit log is not safe from it", "as an administrator: ALTER ROLE "+app+" NO"+strings.Join(r.Powers, " NO"))
	}
	if len(r.Owns) > 0 {
		say(Fail, app+" owns "+strings.Join(r.Owns, ", ")+", and so may change and drop it", "ALTER TABLE "+r.Owns[0]+" OWNER TO the owner of the others; run migrations by UMS_DATABASE_DIRECT_URL alone")
	}
	if len(r.Missing) > 0 {
		say(Fail, app+" lacks rights on tables", strings.Join(r.Missing, "; "))
	}
	if len(r.Excess) > 0 {
		say(Fail, app+" can change the audit log", strings.Join(r.Excess, "; "))
	}
	if twoURLs && !r.HasSettings {
		say(Warn, app+" has no timeouts in this database: a dump does not carry them", "run ums restore-finish if this database comes from a backup, else: ALTER ROLE "+app+" SET statement_timeout = '5s'")
	}
	if len(all) == 0 {
		how := "each connection becomes it by SET ROLE"
		if twoURLs {
			how = "it has a login of its own"
		}
		say(OK, fmt.Sprintf("the service works as %s, %s; %s owns the tables", app, how, owner), "")
	}
	return all
}

// migrations says what is pending. It returns whether the schema can be worked with.
func (d *doctor) migrations(ctx context.Context) bool {
	m, err := postgres.NewMigrator(d.cfg.Database.Direct(), migrations.FS, d.log)
	if err != nil {
		d.say("migrations", Fail, flat(err), "")
		return false
	}
	defer func() { _ = m.Close() }()
	plan, err := m.Plan(ctx)
	if err != nil {
		d.say("migrations", Fail, flat(err), "may the owner read the table goose_db_version?")
		return false
	}
	newest, known, err := m.Newest(ctx)
	if err != nil {
		d.say("migrations", Fail, flat(err), "")
		return false
	}
	if newest > known {
		d.say("migrations", Warn, fmt.Sprintf("the schema is at %d, and this version knows %d: a newer one has migrated it", newest, known),
			"go on, if you are going back by one version; else take the newer binary. See docs/operations/upgrade.md")
		return true
	}
	if len(plan) == 0 {
		d.ok("migrations", fmt.Sprintf("all %d are applied", known))
		return true
	}
	says := fmt.Sprintf("%d are pending (%s to %s); nobody waits for longer than an instant", len(plan), plan[0].Name, plan[len(plan)-1].Name)
	if waits := plan.Waits(); waits > 0 {
		says = fmt.Sprintf("%d are pending (%s to %s); in %d places somebody waits for a table", len(plan), plan[0].Name, plan[len(plan)-1].Name, waits)
	}
	d.say("migrations", Warn, says, "look: ums migrate plan; then ums migrate up, or start the service, which does it")
	return false
}

// open makes the pool that later checks work with.
func (d *doctor) open(ctx context.Context) {
	cfg := d.cfg.Database
	cfg.MaxConns = 1
	pool, err := postgres.Open(ctx, cfg, d.log)
	if err == nil {
		if err = pool.Ping(ctx); err == nil {
			d.pool = pool
			return
		}
		pool.Close()
	}
	d.say("database", Fail, flat(err), "see docs/operations/database.md")
}

func (d *doctor) connections(f postgres.Facts) {
	each := int(d.cfg.Database.MaxConns) + besidePool
	room := f.Connections / each
	says := fmt.Sprintf("%s leaves %d connections; a replica takes up to %d (UMS_DATABASE_MAX_CONNS=%d, and %d beside), so there is room for %d; %d are open in this database now",
		f.Limit, f.Connections, each, d.cfg.Database.MaxConns, besidePool, room, f.Open)
	do := "lower UMS_DATABASE_MAX_CONNS, raise " + f.Limit + ", or put a pooler between (docs/operations/database.md)"
	switch room {
	case 0:
		d.say("connections", Fail, says, do)
	case 1:
		d.say("connections", Warn, says+": none for the second that an upgrade starts beside the first", do)
	default:
		d.ok("connections", says)
	}
}

// flat is an error on one line.
func flat(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
