package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/httpapi"
	"github.com/user-management-service/ums/internal/httpapi/operations"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/migrations"
)

const (
	// drainDelay is how long a production replica keeps accepting after it has said that it is not ready, so that
	// balancers which ask every two seconds have noticed.
	drainDelay = 5 * time.Second
	drainTime  = 20 * time.Second // for requests in flight
	stopTime   = 15 * time.Second // for jobs, and for what is written last

	maxHeader = 16 << 10
)

// state is how far the service has come.
type state struct {
	mu       sync.RWMutex
	missing  string // why it is not ready; "" when it is
	draining bool
}

func (s *state) set(missing string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.missing = missing
}

func (s *state) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
}

func (s *state) read() (missing string, draining bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.missing, s.draining
}

// Run listens, brings the database up to date, serves until ctx ends, and stops in order: not ready, drain, jobs,
// what is written last, pool, embedded database. It returns nil after a clean stop.
func (a *App) Run(ctx context.Context) (err error) {
	public, admin, err := a.listen(ctx)
	if err != nil {
		return errors.Join(err, a.Close())
	}
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var background sync.WaitGroup
	failed := make(chan error, 3)
	serve := func(s *http.Server, l net.Listener) {
		background.Go(func() {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve %s: %w", l.Addr(), err)
			}
		})
	}
	publicServer, adminServer := a.server(a.api), a.server(operations.Handler(a.metrics.Registry))
	adminServer.WriteTimeout = 2 * time.Minute // profiles take their time
	serve(publicServer, public)
	serve(adminServer, admin)
	a.log.InfoContext(ctx, "listening", "addr", public.Addr().String(), "admin_addr", admin.Addr().String(), "version", a.version)
	a.addr = public.Addr().String()

	background.Go(func() {
		if err := a.bringUp(work, ctx); err != nil {
			failed <- err
		}
	})
	var died <-chan struct{}
	if a.embedded != nil {
		died = a.embedded.Done()
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
	case <-died:
		err = errors.New("the embedded database has ended; see its log in the data folder")
	}
	a.log.InfoContext(ctx, "stopping")
	a.drain(publicServer, adminServer)
	stopWork()
	background.Wait()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	err = errors.Join(err, a.jobs.Stop(stop))
	err = errors.Join(err, a.Close())
	a.log.InfoContext(ctx, "stopped")
	return err
}

func (a *App) listen(ctx context.Context) (public, admin net.Listener, err error) {
	var lc net.ListenConfig
	if public, err = lc.Listen(ctx, "tcp", a.cfg.Service.HTTPAddr); err != nil {
		return nil, nil, fmt.Errorf("UMS_HTTP_ADDR: %w", err)
	}
	if admin, err = lc.Listen(ctx, "tcp", a.cfg.Service.AdminAddr); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("UMS_ADMIN_ADDR: %w", err), public.Close())
	}
	return public, admin, nil
}

func (a *App) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       12 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       75 * time.Second,
		MaxHeaderBytes:    maxHeader - 4096, // net/http adds 4 KiB of its own
		ErrorLog:          a.serverLog,
	}
}

// bringUp does what must be done once before requests can be answered, trying again while the database is away. Then it
// keeps the background work going until work ends.
func (a *App) bringUp(work, start context.Context) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := a.prepare(start)
		if err == nil {
			break
		}
		if start.Err() == nil && postgres.Classify(err) == nil {
			return err // it will not get better by waiting
		}
		a.state.set("database")
		select {
		case <-start.Done():
			return nil
		case <-time.After(wait):
			a.log.WarnContext(start, "waiting for the database", "error", err)
		}
	}
	a.state.set("")
	a.log.InfoContext(start, "ready")
	a.greet(a.addr)
	close(a.ready)
	var running sync.WaitGroup
	for _, run := range a.background {
		running.Go(func() { run(work) })
	}
	running.Wait()
	return nil
}

// prepare is safe to repeat, and for any number of replicas at once.
func (a *App) prepare(ctx context.Context) error {
	a.state.set("migrations")
	if err := postgres.Migrate(ctx, a.cfg.Database.Direct(), migrations.FS, a.log); err != nil {
		return err
	}
	if err := a.pool.Ping(ctx); err != nil {
		return err
	}
	if err := audit.EnsurePartitions(ctx, a.pool); err != nil {
		return err
	}
	if err := a.signing.Ensure(ctx); err != nil {
		return err
	}
	if err := a.bootstrap(ctx); err != nil {
		return err
	}
	return a.jobs.Start(ctx)
}

// drain lets what is in flight finish. First this replica says that it is not ready and closes connections after their
// answers; for a while it still takes what comes.
func (a *App) drain(public, admin *http.Server) {
	a.state.drain()
	public.SetKeepAlivesEnabled(false)
	if !a.cfg.Service.Development() {
		<-time.After(drainDelay) // a second signal ends the process
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := public.Shutdown(ctx); err != nil {
		a.log.WarnContext(ctx, "requests were cut off", "error", err)
		_ = public.Close()
	}
	_ = admin.Close()
}

// checks is what GET /readyz says.
func (a *App) checks(ctx context.Context) []httpapi.Check {
	missing, draining := a.state.read()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	checks := []httpapi.Check{
		{Name: "serving", OK: !draining},
		{Name: "migrations", OK: missing == ""},
		{Name: "database"},
	}
	if draining {
		checks[0].Note = "the service is stopping"
	}
	if missing != "" {
		checks[1].Note = "not done yet"
	}
	if err := a.pool.Ping(ctx); err == nil {
		checks[2].OK = true
	} else {
		checks[2].Note = "does not answer"
	}
	if a.limiter != nil {
		redis := httpapi.Check{Name: "redis", OK: a.limiter.Stats().Up, Optional: true}
		if !redis.OK {
			redis.Note = "does not answer; rate limits are counted by each replica alone"
		}
		checks = append(checks, redis)
	}
	return checks
}
