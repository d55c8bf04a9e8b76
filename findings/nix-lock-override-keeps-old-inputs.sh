#!/bin/bash
# nix 2.26.3 (Debian nix-bin 2.26.3+dfsg-1): `nix flake lock --override-input app URL` locks the new app, but
# with the inputs that the flake's old lock has for the app (NixOS/nix#5433, mended in 2.30), so the new app is
# built with the libraries of the one before. `nix flake update app --override-input app URL` takes them from
# the flake.lock of the new app. With it, versions before and after 2.30 write the same lock; with the first
# command, two people with two versions of nix get two locks from the same commits, and no warning.
#
# Seen: a flake locked at version 1 of an app, whose own lock has library 1; version 2 of the app, whose own
# lock has library 2; which library is in the lock after each of the two commands.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/debian.sh
. "$(dirname "$0")/lib/debian.sh"
begin "$@"
unpack nix-bin=2.26.3+dfsg-1 bash coreutils jq
mkdir -p "$root/nix" "$root/etc/nix"
printf 'build-users-group =\nexperimental-features = nix-command flakes\nflake-registry =\n' >"$root/etc/nix/nix.conf"
cat >"$root/inner" <<'INNER'
set -eu
mkdir -p /w/library /w/app-1 /w/app-2 /w/flake
for version in 1 2; do # both apps ask for the same library, which has changed in between
    echo "{ outputs = _: { version = $version; }; }" >/w/library/flake.nix
    echo '{ inputs.library.url = "path:/w/library"; outputs = _: { }; }' >/w/app-$version/flake.nix
    nix flake lock path:/w/app-$version
    jq -r .nodes.library.locked.narHash /w/app-$version/flake.lock >/w/library-$version
done
echo '{ inputs.app.url = "path:/w/app-1"; outputs = _: { }; }' >/w/flake/flake.nix
nix flake lock path:/w/flake
nix flake lock path:/w/flake --override-input app path:/w/app-2 --output-lock-file /w/locked
nix flake update app --flake path:/w/flake --override-input app path:/w/app-2 --output-lock-file /w/updated
for file in /w/flake/flake.lock /w/locked /w/updated; do
    hash=$(jq -r .nodes.library.locked.narHash "$file")
    for version in 1 2; do
        [ "$hash" != "$(cat /w/library-$version)" ] || echo "app $(jq -r .nodes.app.locked.path "$file" | tail -c 2), library $version"
    done
done
INNER
run bash /inner >"$tmp/seen" 2>"$tmp/log" || { tail -n 5 "$tmp/log" >&2 && exit 1; }
report "locked" "app 1, library 1" "$(sed -n 1p "$tmp/seen")"
report "nix flake lock --override-input" "app 2, library 1" "$(sed -n 2p "$tmp/seen")"
report "nix flake update app --override-input" "app 2, library 2" "$(sed -n 3p "$tmp/seen")"
exit "$changed"
