// Withpg runs a command with an ephemeral PostgreSQL beside it, which UMS_TEST_DATABASE_URL names:
//
//	go run ./internal/platform/postgres/pgtest/withpg -- go test ./...
//
// All test processes of the command share the server and its template. Its exit code is the command's. A server that
// UMS_TEST_DATABASE_URL names already is used as it is.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
)

func main() {
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "withpg: name a command: withpg -- go test ./...")
		os.Exit(2)
	}
	code, err := run(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "withpg:", err)
		code = 1
	}
	os.Exit(code)
}

func run(args []string) (code int, err error) {
	// A Ctrl-C in the terminal reaches the command as well; a signal to us alone is passed on.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)

	cmd := exec.Command(args[0], args[1:]...) //nolint:gosec,noctx // running the named command is what this is for
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = os.Environ()
	if os.Getenv(pgtest.Variable) == "" {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		srv, err := pgtest.StartServer(ctx)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, srv.Close(context.Background())) }()
		cmd.Env = append(cmd.Env, pgtest.Variable+"="+srv.URL())
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start %s: %w", args[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s) // the only error is that it has ended
		case err := <-ended:
			var exit *exec.ExitError
			switch {
			case err == nil:
				return 0, nil
			case errors.As(err, &exit) && exit.ExitCode() >= 0:
				return exit.ExitCode(), nil
			case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled():
				return 128 + int(exit.Sys().(syscall.WaitStatus).Signal()), nil
			}
			return 0, fmt.Errorf("wait for %s: %w", args[0], err)
		}
	}
}
