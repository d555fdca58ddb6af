#!/usr/bin/env bash
# Checks what is in this directory as far as that goes without a container
# engine: everything is read as Docker, Compose, Kubernetes and systemd read it, and,
# as root, the nodes are run by hand as the containers would run them.
set -euo pipefail
cd "$(dirname "$0")"

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

# The Dockerfile's own step, with what Dockerfile.dockerignore leaves it.
mapfile -t context < <(sed -n 's/^!//p' Dockerfile.dockerignore)
mkdir "$made/src"
tar -C .. --exclude='*_test.go' --exclude=testdata -cf - "${context[@]}" | tar -C "$made/src" -xf -
(cd "$made/src" && CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o "$made/crema" ./cmd/crema)
(cd check && go vet ./... && go build -o "$made/check" .)
"$made/check" -crema "$made/crema"

if command -v systemd-analyze >/dev/null; then
  sed "s|/usr/local/bin/crema|$made/crema|" crema.service >"$made/crema.service"
  said=$(systemd-analyze verify --man=no "$made/crema.service" 2>&1) && [ -z "$said" ] || { echo "FAILED: crema.service: $said" >&2; exit 1; }
  # In tenths: what it is exposed to by having a network at all is most of it.
  systemd-analyze security --offline=true --no-pager --threshold=15 "$made/crema.service" >/dev/null ||
    { echo "FAILED: crema.service is more exposed than it was" >&2; exit 1; }
  echo "ok: crema.service"
else
  echo "left out: crema.service needs systemd-analyze"
fi

if [ "$(id -u)" = 0 ] && command -v ip setpriv >/dev/null && unshare --net --mount true 2>/dev/null; then
  "$made/check" -crema "$made/crema" nodes
else
  echo "left out: running the nodes needs root and namespaces"
fi
