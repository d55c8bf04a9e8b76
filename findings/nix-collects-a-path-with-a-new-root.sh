#!/bin/bash
# nix 2.26.3 (Debian nix-bin 2.26.3+dfsg-1): a garbage collection that is under way deletes a path that got a
# root (a symlink in gcroots) after the collection had read the roots, though `nix-store --check-validity`
# has just said that it is there. A collection listens for new roots only from programs that tell it:
# after the same symlink, `nix-store --realise PATH` tells it, and waits for its answer. If that succeeds the
# path stays; if it is too late it fails. So make the root first, and realise; a look is worth nothing.
#
# Seen, with a collection that is stopped as soon as it deletes: of ten valid paths that then get a
# root, ten are gone afterwards and ten links dangle; of ten that are realised too, none is gone.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/debian.sh
. "$(dirname "$0")/lib/debian.sh"
begin "$@"
unpack nix-bin=2.26.3+dfsg-1 bash coreutils grep
mkdir -p "$root/nix" "$root/etc/nix"
echo 'build-users-group =' >"$root/etc/nix/nix.conf"
cat >"$root/inner" <<'INNER'
set -eu
roots=/nix/var/nix/gcroots
collect() { # stops a collection at its first deletion; sets `gc`, and `paths`: ten that are still valid
    for number in $(seq 300); do echo "$1 $number" >"/tmp/$1-$number"; done
    nix-store --add "/tmp/$1"-* >/tmp/added
    nix-store --gc >/dev/null 2>"/tmp/$1.log" &
    gc=$!
    until grep -q "^deleting '/nix/store/" "/tmp/$1.log"; do sleep 0.001; done
    kill -STOP "$gc"
    paths=
    for path in $(shuf /tmp/added); do
        [ "$(echo "$paths" | wc -w)" -lt 10 ] || break
        ! nix-store --check-validity "$path" 2>/dev/null || paths="$paths $path"
    done
}
count() { # how many of the given paths are there
    there=0
    for path in "$@"; do [ ! -e "$path" ] || there=$((there + 1)); done
    echo "$there"
}
collect looked
for path in $paths; do ln -s "$path" "$roots/${path##*/}"; nix-store --check-validity "$path"; done
kill -CONT "$gc" && wait "$gc"
echo "looked: valid $(echo "$paths" | wc -w), there afterwards $(count $paths)"

collect told
for path in $paths; do
    ln -s "$path" "$roots/${path##*/}"
    nix-store --realise "$path" >"/tmp/said-${path##*/}" 2>/dev/null &
done
sleep 1
kill -CONT "$gc"
wait
good=
for path in $paths; do [ ! -s "/tmp/said-${path##*/}" ] || good="$good $path"; done
lost=$(($(echo "$good" | wc -w) - $(count $good)))
[ -z "$good" ] && echo "told: none was in time" || echo "told: gone though realise has succeeded: $lost"
INNER
run bash /inner >"$tmp/seen"
report "ten paths that got a root" "looked: valid 10, there afterwards 0" "$(sed -n 1p "$tmp/seen")"
report "ten that were realised too" "told: gone though realise has succeeded: 0" "$(sed -n 2p "$tmp/seen")"
exit "$changed"
