#!/bin/sh
# Writes systemd-boot's files: an entry for each generation of the system profile, and as the default
# the generation that holds TOPLEVEL. usage: install-bootloader TOPLEVEL
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin${PATH:+:$PATH}
export PATH
toplevel=$1
profile=/nix/var/nix/profiles/system
loader=/boot/loader

if [ -e "$OUT/faults/boot-fails" ]; then
    echo "cannot write to /boot: no space left on device" >&2
    exit 1
fi
if [ -e "$OUT/faults/boot-takes" ]; then
    sleep "$(cat "$OUT/faults/boot-takes")"
fi
if [ -e "$OUT/faults/boot-hangs" ]; then
    trap '' TERM
    while :; do sleep 1; done
fi

# Replace a file atomically, so that a power cut cannot truncate it.
publish() { # FILE, its text on stdin
    cat > "$1.new"
    mv -f "$1.new" "$1"
}

mkdir -p "$loader/entries"
default=
kept=' '
for link in "$profile"-[0-9]*-link; do
    [ -L "$link" ] || continue
    number=${link#"$profile"-}
    number=${number%-link}
    system=$(readlink -f "$link")
    entry=nixos-generation-$number.conf
    kept="$kept$entry "
    publish "$loader/entries/$entry" <<END
title NixOS
version Generation $number, $(cat "$system/nixos-version")
linux $(readlink -f "$system/kernel")
initrd $(readlink -f "$system/initrd")
options init=$system/init $(cat "$system/kernel-params")
END
    # Of several generations with the same system, prefer that of the profile, then the newest.
    if [ "$system" = "$toplevel" ]; then
        if [ "$(readlink "$profile")" = "${link##*/}" ]; then
            default=$entry current=yes
        elif [ "${current:-no}" = no ] && [ "$number" -gt "${newest:--1}" ]; then
            default=$entry newest=$number
        fi
    fi
done

# Like the real one: a system without a generation gets no entry, and the default is kept.
if [ -n "$default" ]; then
    printf 'timeout 5\ndefault %s\n' "$default" | publish "$loader/loader.conf"
else
    echo "warning: no generation of $profile holds $toplevel; the boot default stays as it was" >&2
fi

# In the end, so that a power cut cannot leave a default without its entry.
for file in "$loader"/entries/nixos-generation-*.conf; do
    case $kept in *" ${file##*/} "*) ;; *) rm -f "$file" ;; esac
done
