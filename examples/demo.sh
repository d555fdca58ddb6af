#!/bin/sh
# Runs both examples against a crema of their own.
#
#   examples/demo.sh [path of crema, default ./bin/crema]
#
# BROWSER=1 also opens the progress page in chromium and watches it there.

set -eu

crema=${1:-./bin/crema}
here=$(cd "$(dirname "$0")" && pwd)

fail() {
	echo "demo: $*" >&2
	exit 2
}

command -v "$crema" >/dev/null || fail "no crema at $crema (make build)"
command -v npm >/dev/null || fail "needs Node 20 or newer with npm"
node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' || fail "needs Node 20 or newer, found $(node --version)"

for example in progress cache-aside; do
	if [ ! -d "$here/$example/node_modules/ioredis" ]; then
		(cd "$here/$example" && npm ci --omit=dev --no-audit --no-fund --loglevel=error >/dev/null) || fail "npm ci failed in examples/$example"
	fi
done

port=$(node -e 'const s = net.createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })')
"$crema" --port "$port" >&2 &
pid=$!
trap 'kill "$pid" 2>/dev/null || :; wait "$pid" 2>/dev/null || :' EXIT
trap 'exit 1' INT TERM

# Ready when it answers PING, for at most ten seconds.
node -e '
  const end = Date.now() + 10000
  function attempt() {
    const s = net.connect(process.argv[1], "127.0.0.1", () => s.write("PING\r\n"))
    s.on("data", (d) => process.exit(String(d) === "+PONG\r\n" ? 0 : 1))
    s.on("error", () => Date.now() < end ? setTimeout(attempt, 50) : process.exit(1))
  }
  attempt()' "$port" || fail "crema did not start on port $port"

export REDIS_URL="redis://127.0.0.1:$port"
code=0
node "$here/cache-aside/demo.mjs" || code=1
echo
node "$here/progress/demo.mjs" || code=1
if [ -n "${BROWSER:-}" ]; then # with a real browser too; needs chromium
	echo
	(cd "$here/progress" && npm ci --no-audit --no-fund --loglevel=error >/dev/null) || fail "npm ci failed in examples/progress"
	node "$here/progress/browser.mjs" || code=1
	CREMA="$(command -v "$crema")" node "$here/progress/direct.mjs" || code=1
fi
exit "$code"
