# make help lists the targets.

.DEFAULT_GOAL := help
BIN := bin/crema

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/crema
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -o $(BIN) ./cmd/crema

run: build ## start crema on 127.0.0.1:6379
	./$(BIN)

test: ## test everything but the client packages (conversations need redis-server 7.0)
	go test -timeout 30m ./...
	cd bench && go test ./load

race: ## the same under the race detector, without what only takes time there
	go test -timeout 30m -race -short ./...

clients: build ## the real client packages (installs them)
	bash bench/clients/install.sh
	cd bench && CREMA_BIN=$(CURDIR)/$(BIN) go test -count=1 ./clients/...

demo: build ## run both example applications against a crema it starts
	bash examples/demo.sh $(BIN)

proof: build bin/proof ## break a cluster of three for DURATION (5m), SEED=… repeats the choices; needs root
	cd bench && ../bin/proof -crema ../$(BIN) -duration $(DURATION) -seed $(SEED) $(PROOF)

proof-short: build bin/proof ## two minutes of that, after its own tests
	cd bench && go test ./proof/...
	cd bench && ../bin/proof -crema ../$(BIN) -short -seed $(SEED) $(PROOF)

proof-plants: build bin/proof ## switch one promise off at a time: each must be found within 5m
	cd bench && for plant in $(PLANTS); do ../bin/proof -crema ../$(BIN) -plant $$plant -within 5m -seed $(SEED) $(PROOF) || exit 1; done

bin/proof: FORCE
	cd bench && go build -o ../bin/proof ./proof

cluster: build ## start three nodes on 6379-6381 and watch them lose their leader, again and again
	go run ./examples/failover -crema $(BIN) $(if $(FOR),-for $(FOR)) $(if $(PORT),-port $(PORT))

bench: build bin/load ## measure crema beside redis-server, valkey-server and RIVAL=host:port (ONLY=get-p16 ROUNDS=5 FOR=1.2s OUT=file)
	./bin/load suite -crema $(BIN) $(if $(RIVAL),-rival $(RIVAL)) $(if $(ONLY),-only '$(ONLY)') $(if $(ROUNDS),-rounds $(ROUNDS)) $(if $(FOR),-for $(FOR)) $(if $(OUT),-out $(OUT))

bench-hits: build bin/load ## hit ratios of a full cache beside redis-server's allkeys-lfu and allkeys-lru (ONLY=zipf:1.01 OUT=file)
	./bin/load hits -crema $(BIN) $(if $(ONLY),-only '$(ONLY)') $(if $(OUT),-out $(OUT))

bench-churn: build bin/load ## RSS by used memory while sizes change and keys come and go, for 10m (FOR=…)
	./bin/load churn -crema $(BIN) $(if $(FOR),-for $(FOR)) $(if $(OUT),-out $(OUT))

bin/load: FORCE
	cd bench && go build -o ../bin/load ./load

bench-cluster: build bin/load ## measure three nodes beside redis-server (about five minutes)
	./bin/load cluster -crema $(BIN) -dir bin $(if $(OUT),-out $(OUT))

bench-sse: build ## how long from PUBLISH to 1000 event streams (FLAGS="-channels 1 -rate 20")
	cd bench && go run ./sse -crema ../$(BIN) $(if $(FLAGS),$(FLAGS),-channels 20 -rate 200)

fuzz: ## each fuzz target for fifty thousand inputs
	bash .ci/fuzz

lint: ## gofmt, go vet, staticcheck, and that it builds for another system
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK) ./...
	GOOS=darwin GOARCH=arm64 go build ./...
	cd bench && go vet ./... && go run honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK) ./...

STATICCHECK := v0.8.2
DURATION := 5m
SEED := 0
PLANTS := quorum fsync barrier verify cache expiry

FORCE:

.PHONY: help build run test race clients demo cluster proof proof-short proof-plants bench bench-hits bench-churn bench-cluster bench-sse fuzz lint FORCE
