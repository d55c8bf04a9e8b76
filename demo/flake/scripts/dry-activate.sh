#!/bin/sh
# What `activate` would do; it changes nothing.
set -eu
echo "would point /etc/static to $OUT/etc and /run/current-system to $OUT" >&2
for kind in restart reload; do
    [ ! -e "$OUT/faults/$kind-list" ] ||
        tr ' ' '\n' < "$OUT/faults/$kind-list" > "/run/nixos/dry-activation-$kind-list"
done
