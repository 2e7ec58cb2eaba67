# Run `make` for the list of targets. Tools and their versions: scripts/versions.env, installed into .cache.
include scripts/versions.env

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

GO ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
GOFUMPT := scripts/go-tool mvdan.cc/gofumpt $(GOFUMPT_VERSION)
IMAGE ?= ums:$(VERSION)
# Extra arguments for go test, e.g. make test ARGS='-run Login -v'
ARGS ?=

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^##: / { print "\n" substr($$0, 5) } /^[a-z][a-z0-9-]*:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile

##: Running

.PHONY: run
run: build ## Start the service with everything it needs; Ctrl-C stops all of it
	@[ -n "$${UMS_DATABASE_URL:-}" ] || scripts/install-postgres >/dev/null
	@UMS_BOOTSTRAP_ADMIN_EMAIL="$${UMS_BOOTSTRAP_ADMIN_EMAIL:-admin@localhost.test}" exec bin/ums serve

.PHONY: build
build: ## Build bin/ums, static and stripped
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ums ./cmd/ums

.PHONY: migrate
migrate: build ## Apply pending migrations to the database in UMS_DATABASE_URL (ums serve does so by itself)
	@bin/ums migrate up

.PHONY: seed
seed: build ## Fill the development database with people, N of them (1000); the service must not run, or UMS_DATABASE_URL be set
	@[ -n "$${UMS_DATABASE_URL:-}" ] || scripts/install-postgres >/dev/null
	@bin/ums seed --users $(or $(N),1000)

##: Testing

.PHONY: test
test: ## Run every test; the three parts below in one go
	@scripts/install-redis || true # the tests that need it say so
	scripts/with-database $(GO) test $(ARGS) ./...

.PHONY: test-unit
test-unit: ## Run the tests that need no database
	@scripts/install-redis || true # the tests that need it say so
	packages=$$(scripts/test-packages unit); $(GO) test $(ARGS) $$packages

.PHONY: test-integration
test-integration: ## Run the tests that use a database, all but the end-to-end ones
	@scripts/install-redis || true # the tests that need it say so
	packages=$$(scripts/test-packages integration); scripts/with-database $(GO) test $(ARGS) $$packages

.PHONY: test-e2e
test-e2e: ## Run the tests that drive the built binary
	@scripts/install-redis || true # the tests that need it say so
	packages=$$(scripts/test-packages e2e); scripts/with-database $(GO) test $(ARGS) $$packages

.PHONY: test-browser
test-browser: ## Run the tests that drive a real browser; they need Chromium or Google Chrome, and npm
	scripts/with-database $(GO) test -tags browser $(ARGS) ./internal/e2e/browser

.PHONY: test-clients
test-clients: ## Run the Postman collection against the service; needs npm
	scripts/with-database $(GO) test -tags clients $(ARGS) ./internal/e2e/clients

.PHONY: test-rehearsal
test-rehearsal: ## Rehearse backups and an upgrade; it needs PostgreSQL's client programs, and git for the version before
	scripts/with-database $(GO) test -tags rehearsal $(ARGS) -run '^TestRehearsal' ./internal/e2e

.PHONY: bench
bench: ## Run the benchmarks of the hot paths
	@scripts/install-redis || true # the tests that need it say so
	scripts/with-database $(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: fuzz
fuzz: ## Fuzz every target for TIME (30s) each
	@scripts/fuzz '$(or $(TIME),30s)'

.PHONY: figures
figures: ## Print the figures of signing in, with production's parameters, of lists among a million, and of imports (some minutes, on an idle machine)
	scripts/with-database $(GO) test -tags figures -count=1 -v -timeout 30m -run '^TestFigures' ./internal/e2e

##: Checking

.PHONY: check
check: check-fmt check-generated lint lint-shell lint-workflows lint-api lint-typescript check-deploy test-race test-browser test-clients test-rehearsal ## Everything that CI runs, the quick parts first

.PHONY: test-race
test-race: ## Run every test under the race detector
	@scripts/install-redis || true # the tests that need it say so
	scripts/with-database $(GO) test -race -timeout 30m $(ARGS) ./...

.PHONY: check-fmt
check-fmt: ## Find files that are not formatted
	@files=$$(git ls-files --cached --others --exclude-standard -- '*.go' | xargs -r ls 2>/dev/null | xargs -r $(GOFUMPT) -l); \
	if [ -n "$$files" ]; then echo "not formatted; run make fmt:"; echo "$$files"; exit 1; fi

.PHONY: fmt
fmt: ## Format the Go code
	@git ls-files --cached --others --exclude-standard -- '*.go' | xargs -r ls 2>/dev/null | xargs -r $(GOFUMPT) -w

.PHONY: lint
lint: ## Vet and lint the Go code
	$(GO) vet ./...
	scripts/go-tool github.com/golangci/golangci-lint/v2/cmd/golangci-lint $(GOLANGCI_LINT_VERSION) run ./...

.PHONY: lint-shell
lint-shell: ## Lint the shell scripts, where shellcheck is installed
	@if command -v shellcheck >/dev/null; then \
		grep -lIE '^#!.*(ba)?sh$$' $$(git ls-files --cached --others --exclude-standard -- scripts .ci deploy) | xargs -r shellcheck -x; \
	else echo "shellcheck is not installed; the scripts stay unchecked"; fi

.PHONY: lint-workflows
lint-workflows: ## Lint .github/workflows
	@$(GO) run github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)

.PHONY: vuln
vuln: ## Find known vulnerabilities in what the program calls; asks the Go vulnerability database
	@$(GO) run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION) ./...

.PHONY: lint-api
lint-api: ## Lint the HTTP contract, where npm is installed
	@if command -v npm >/dev/null; then \
		scripts/npm-tool @redocly/cli $(REDOCLY_VERSION) redocly lint api/openapi.yaml; \
	else echo "npm is not installed; the contract stays unlinted"; fi

.PHONY: lint-typescript
lint-typescript: ## Type-check and test the TypeScript client, where npm is installed
	@if command -v npm >/dev/null; then scripts/typescript check test; \
	else echo "npm is not installed; the TypeScript client stays unchecked"; fi

# Not from the cache: it does not look at files outside of a module.
.PHONY: check-deploy
check-deploy: ## Try the files in deploy/ with the programs that they are for; what is not installed is named
	@cd deploy/validate && $(GO) vet ./... && $(GO) test -count=1 ./...
	@scripts/check-deploy

##: Generating

.PHONY: generate
generate: ## Write the contract, the Postman collection, the TypeScript types and the Go client into api/, the documentation's tables and the schema
	@scripts/generate api
	@scripts/with-database $(GO) test -count=1 ./migrations -run '^TestThePageShowsTheSchema$$' -update

.PHONY: check-generated
check-generated: ## Find generated files that are not fresh
	@scripts/check-generated

##: Packaging

.PHONY: image
image: ## Build the container image with buildah or Docker; Go compiles on this machine, and no registry is asked
	@scripts/image '$(IMAGE)' '$(VERSION)'

.PHONY: docker
docker: ## Build the container image with Docker alone, compiling inside of it
	docker build --build-arg VERSION='$(VERSION)' -t '$(IMAGE)' .

.PHONY: release
release: ## Write the archives of a release, their list of modules and their checksums into dist/
	@scripts/release '$(VERSION)' dist

.PHONY: clean
clean: ## Remove what was built; .data (the database) and .cache (the tools) stay
	rm -rf bin dist
