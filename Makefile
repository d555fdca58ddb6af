# make help lists the targets.

.DEFAULT_GOAL := help
BIN := bin/crema

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/crema
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -o $(BIN) ./cmd/crema

run: build ## start crema on 127.0.0.1:6379
	./$(BIN)

test: ## test everything but the client packages (conversations need redis-server 7.0)
	go test ./...

race: ## the same under the race detector, without what only takes time there
	go test -race -short ./...

clients: build ## the real client packages (installs them)
	bash bench/clients/install.sh
	cd bench && CREMA_BIN=$(CURDIR)/$(BIN) go test -count=1 ./clients/...

demo: build ## run both example applications against a crema it starts
	bash examples/demo.sh $(BIN)

fuzz: ## each fuzz target for ten seconds
	bash .ci/fuzz

lint: ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK) ./...

STATICCHECK := v0.8.2

.PHONY: help build run test race clients demo fuzz lint
