#!/bin/sh
# Runs NixOS's own switch-to-configuration with the environment that nixpkgs gives it.
# usage: run-switch-program check|switch|boot|test|dry-activate
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin${PATH:+:$PATH}
export PATH LC_ALL=C.UTF-8

# NixOS activates a system that boots before its systemd runs, without this program.
if [ ! -e /run/current-system ]; then
    case ${1:-} in
    switch) "$OUT/install-bootloader" "$OUT" ;;
    test) ;;
    *) exec "$SWITCH_PROGRAM" "$@" ;;
    esac
    "$OUT/activate" "$OUT" || exit 2
    systemctl daemon-reload
    set --
    for path in "$OUT"/etc/systemd/system/*.target.wants/*; do
        [ ! -e "$path" ] || set -- "$@" "${path##*/}"
    done
    systemctl start --no-block -- "$@"
    exit 0
fi

export TOPLEVEL="$OUT" DISTRO_ID=nixos LOCALE_ARCHIVE='' SYSTEMD=/usr \
    INSTALL_BOOTLOADER="$OUT/install-bootloader" PRE_SWITCH_CHECK="$OUT/pre-switch-checks"
exec "$SWITCH_PROGRAM" "$@"
