// Command protected-service is a small service of orders that lets in whom the User Management Service knows: people by
// their access tokens, programs by their API keys.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/user-management-service/ums/api/client/verify"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(ctx, log, os.Getenv); err != nil {
		log.ErrorContext(ctx, "protected-service ended", "error", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, log *slog.Logger, getenv func(string) string) error {
	v, err := verify.New(configuration(log, getenv))
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	server := &http.Server{Addr: "127.0.0.1:8090", Handler: routes(v), ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	log.InfoContext(ctx, "listening", "address", server.Addr)
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}

func configuration(log *slog.Logger, getenv func(string) string) verify.Config {
	return verify.Config{
		URL:      getenv("UMS_URL"),      // where the User Management Service is
		Issuer:   getenv("UMS_ISSUER"),   // its UMS_PUBLIC_URL, when that is another
		Audience: getenv("UMS_AUDIENCE"), // this service in its UMS_TOKEN_AUDIENCES
		APIKey:   getenv("UMS_API_KEY"),  // this service's key, with the scope api_keys:verify
		KeyCache: time.Second,
		// What the roles of people mean here. Keys bring their permissions along.
		RolePermissions: map[string][]string{"clerk": {"orders:read", "orders:write"}, "admin": {"*"}},
		Logger:          log,
	}
}

func routes(v *verify.Verifier) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /whoami", v.Require()(http.HandlerFunc(whoami)))
	mux.Handle("GET /orders", v.Require("orders:read")(http.HandlerFunc(orders)))
	mux.Handle("GET /reports", v.RequireRole("admin")(http.HandlerFunc(orders)))
	return mux
}

// caller is who calls, as this service sees it.
type caller struct {
	UserID      string   `json:"user_id"`
	KeyID       string   `json:"key_id,omitempty"`
	Roles       []string `json:"roles,omitempty"`
	Permissions []string `json:"permissions"`
}

func whoami(w http.ResponseWriter, r *http.Request) {
	p := verify.From(r.Context())
	answer(w, caller{p.UserID, p.KeyID, p.Roles, p.Permissions})
}

func orders(w http.ResponseWriter, _ *http.Request) {
	answer(w, []string{"one harbour lantern", "two copper kettles"})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
}
