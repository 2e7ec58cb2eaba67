// Package browser holds the tests that need a real browser: what a page may do with the service's answers, no client
// library can tell. They are built with the tag browser (make test-browser), because a machine need not have one.
package browser
