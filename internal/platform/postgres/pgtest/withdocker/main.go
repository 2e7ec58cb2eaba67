// Withdocker runs a command with a PostgreSQL container beside it, which UMS_TEST_DATABASE_URL names. It is for machines
// that have Docker and no PostgreSQL; its module is its own, so that the service's is free of Docker's many modules:
//
//	go build -C internal/platform/postgres/pgtest/withdocker -o "$PWD/.cache/bin/withdocker" .
//	.cache/bin/withdocker -- go test ./...
//	.cache/bin/withdocker -image postgres:15-alpine -- go test ./...
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/modules/postgres"
)

func main() {
	image := flag.String("image", "postgres:17-alpine", "the `name` of PostgreSQL's image")
	flag.Parse()
	args := flag.Args()
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "withdocker: name a command: withdocker -- go test ./...")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, *image, args)
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		os.Exit(max(exit.ExitCode(), 1)) //nolint:gocritic // the process ends; there is nothing for stop to do
	default:
		fmt.Fprintln(os.Stderr, "withdocker:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, image string, args []string) (err error) {
	sctx, cancel := context.WithTimeout(ctx, 5*time.Minute) // the image may have to come first
	defer cancel()
	container, err := postgres.Run(
		sctx, image,
		postgres.WithDatabase("ums"), postgres.WithUsername("ums"), postgres.WithPassword("ums"),
		postgres.BasicWaitStrategies(),
		testcontainers.WithCmd("postgres", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off",
			"-c", "max_connections=300", "-c", "autovacuum=off"),
	)
	defer func() { err = errors.Join(err, testcontainers.TerminateContainer(container)) }()
	if err != nil {
		return fmt.Errorf("start a PostgreSQL container: %w", err)
	}
	dsn, err := container.ConnectionString(sctx, "sslmode=disable")
	if err != nil {
		return fmt.Errorf("ask for the container's address: %w", err)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // running the named command is what this is for
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "UMS_TEST_DATABASE_URL="+dsn)
	return cmd.Run()
}
