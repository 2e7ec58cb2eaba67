// Package clients holds the tests that run what others use to call the service: they need npm, and are built with the
// tag clients (make test-clients), because a machine need not have it.
package clients
