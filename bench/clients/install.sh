#!/bin/sh
# Installs what the clients tests need: Debian's packages for Python, Ruby, PHP,
# C and redis-cli, and the Node packages of node/ and page/. Does nothing that is done
# already. Go and Node 20 or later must be there.
set -eu
cd "$(dirname "$0")"

packages="python3 python3-redis ruby ruby-redis php-cli php-redis php-predis gcc libc6-dev libhiredis-dev redis-tools"
# The oracle, for CREMA_TARGET=redis, and a browser for page/.
packages="$packages redis-server chromium"

missing=
for package in $packages; do
	dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
if [ -n "$missing" ]; then
	as_root=
	[ "$(id -u)" = 0 ] || as_root=sudo
	$as_root apt-get update -q
	# Several words on purpose.
	# shellcheck disable=SC2086
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
fi

major=$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/')
if [ "${major:-0}" -lt 20 ]; then
	echo "install.sh: Node 20 or later is needed, found: $(node --version 2>/dev/null || echo none)" >&2
	exit 1
fi
# The marker holds the package.json that node_modules was made from.
for directory in node page; do
	if ! cmp -s $directory/package.json $directory/node_modules/.made-from; then
		(cd $directory && npm install --no-audit --no-fund --no-package-lock)
		cp $directory/package.json $directory/node_modules/.made-from
	fi
done
