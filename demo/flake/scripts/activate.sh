#!/bin/sh
# The activation script: makes the running host what $OUT says, units aside. As the real one it goes
# through all of its steps even when one fails, and tells so at the end by its exit code.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin${PATH:+:$PATH}
export PATH
status=0
units=/run/systemd/system # Debian keeps its own units in /etc/systemd/system

# A name appears whole or not at all: linked aside, then renamed over the old one.
link() { # TARGET NAME
    [ "$(readlink "$2" || :)" = "$1" ] && return
    rm -rf "$2.new"
    ln -s "$1" "$2.new"
    mv -T "$2.new" "$2"
}

# /etc/static leads into the system; what it holds is linked one by one, and what it held before is
# removed: links of ours are those that lead there, all others are left alone.
link_units() {
    link "$(readlink -f "$OUT/etc")" /etc/static || status=1
    for path in "$OUT"/etc/systemd/system/* "$OUT"/etc/systemd/system/*.wants/* \
        "$OUT"/etc/systemd/system/*.d/*; do
        [ -L "$path" ] || continue
        relative=${path#"$OUT/etc/systemd/system/"}
        case $relative in */*) mkdir -p "$units/${relative%/*}" ;; esac
        link "/etc/static/systemd/system/$relative" "$units/$relative" || status=1
    done
    for path in "$units"/* "$units"/*/*; do
        if [ ! -L "$path" ] || [ -e "$path" ]; then continue; fi
        case $(readlink "$path") in /etc/static/*) rm -f "$path" ;; esac
    done
}

set_routes() {
    blocked=/run/fake/blackhole # the address that an earlier system has cut off
    if [ -s "$blocked" ]; then
        ip route del blackhole "$(cat "$blocked")" || :
        rm -f "$blocked"
    fi
    if [ -e "$OUT/faults/net-blackhole" ]; then
        ip route add blackhole "$(cat "$OUT/faults/net-blackhole")" || return 1
        cp "$OUT/faults/net-blackhole" "$blocked"
    fi
}

mkdir -p /run/fake "$units"
link_units || status=1
[ "$ACTIVATION_SECONDS" = 0 ] || sleep "$ACTIVATION_SECONDS"

if [ -e "$OUT/faults/activate-floods" ]; then
    yes "$(printf 'a very long line of output \033[31m with control characters \007')" |
        head -c "$(cat "$OUT/faults/activate-floods")M"
fi
if [ -e "$OUT/faults/activate-fails" ]; then
    echo "cannot create the directory /var/lib/app: read-only file system" >&2
    status=1
fi
if [ -e "$OUT/faults/activate-hangs" ]; then
    trap '' TERM
    while :; do sleep 1; done
fi
if [ -e "$OUT/faults/sshd-stopped" ]; then
    systemctl stop ssh.socket 2> /dev/null || : # where sshd is started by its socket
    systemctl stop ssh.service || status=1
fi
set_routes || status=1

link "$OUT" /run/current-system || status=1
# Keeps the running system from being collected.
link /run/current-system /nix/var/nix/gcroots/current-system || status=1
exit "$status"
