#!/bin/sh
# A stand-in for NixOS's switch-to-configuration with the same actions, lock, order, exit codes and kinds
# of messages (all on stderr).
# usage: switch-to-configuration check|switch|boot|test|dry-activate
# exit: 0 done, 1 check, boot loader or usage, 2 activation script, 4 a unit of the host has failed,
#       11 another switch is running, or logind does not answer, 100 the init interface differs and
#       nothing was activated
# 4 replaces 2 when a unit has failed as well. Without the system bus the switch ends with 1, wherever it
# is by then.
# environment: OUT, set by the wrapper; NIXOS_NO_CHECK=1 skips the pre-switch checks
#
# Not implemented: user units, fstab and swaps, re-executing systemd, and syncing the store's file system,
# which containers share.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin${PATH:+:$PATH}
export PATH LC_ALL=C.UTF-8
action=${1:-}
lists=/run/nixos # what is still to do, for the run after an interrupted one
lock=$lists/switch-to-configuration.lock
phases=/run/fake/phase
scripts=${0%/*}
new=$OUT/etc/systemd/system
code=0
failures='' # jobs that failed, a line each
newline='
'

say() { printf '%s\n' "$*" >&2; }

# Children must not inherit the lock, as they may outlive this process.
run() { "$@" 9>&-; }

fault() { [ -e "$OUT/faults/$1" ]; }
parameter() { cat "$OUT/faults/$1"; }

phase() { printf 'phase %s %s %s\n' "$1" "$(date +%s.%N)" "$OUT" >> "$phases"; }

# shellcheck source-path=SCRIPTDIR source=bus.sh
. "$scripts/bus.sh"

# shellcheck source-path=SCRIPTDIR source=units.sh
. "$scripts/units.sh"

commas() { printf '%s\n' "$*" | sed 's/ /, /g'; }
tell() { [ -z "$2" ] || say "$1: $(commas "$2")"; }

dry_activate() {
    tell "would stop the following units" "$stop"
    tell "would NOT stop the following changed units" "$skip"
    say "would activate the configuration..."
    "$OUT/dry-activate" "$OUT" || :
    add_requests dry-activation
    tell "would reload the following units" "$reload"
    tell "would restart the following units" "$restart"
    tell "would start the following units" "$start"
    appear=
    for unit in $(wanted); do has "$active $start" "$unit" || appear="$appear $unit"; done
    tell "would start the following new units" "${appear# }"
}

# One systemctl call per kind, as each takes a while. A job that fails makes the result 4, and is named
# when all is done; so does a unit that does not exist or cannot be reloaded, which is named at once.
# shellcheck disable=SC2086  # a list of units is meant to be split
change_units() { # VERB UNITS
    [ -n "$2" ] || return 0
    run systemctl "$1" -- $2 2> "$lists/errors" || code=4
    while read -r line; do
        case $line in
        "Job for "*) job=${line#Job for } && failures="${failures}Failed to $1 ${job%% *}$newline" ;;
        *) say "$line" ;;
        esac
    done < "$lists/errors"
    rm -f "$lists/errors"
    require_bus "Failed to process dbus messages while waiting for jobs"
}

remember_all() {
    remember start "$start"
    remember restart "$restart"
    remember reload "$reload"
}

activate() {
    phase stop
    if fault stops-dbus && [ "$(parameter stops-dbus)" = stop ]; then
        stop="$stop dbus.service dbus.socket" start="$start dbus.socket"
        stop=${stop# } start=${start# }
    fi
    remember_all
    tell "stopping the following units" "$stop"
    change_units stop "$stop"
    tell "NOT restarting the following changed units" "$skip"

    phase activate
    say "activating the configuration..."
    if ! run env NIXOS_ACTION="$action" "$OUT/activate" "$OUT" >&2; then
        say "Failed to run activate script"
        code=2
    fi
    add_requests activation
    remember_all

    phase reload
    # Reset earlier failures: what has failed in the end is due to this system.
    require_bus "Failed to reset failed units"
    run systemctl reset-failed || :
    run systemctl daemon-reload || code=4
    activate_users || code=4
    say "restarting sysinit-reactivation.target"
    start_inactive
    tell "reloading the following units" "$reload"
    change_units reload "$reload"
    rm -f "$lists/reload-list"

    phase start
    tell "restarting the following units" "$restart"
    change_units restart "$restart"
    rm -f "$lists/restart-list"
    tell "starting the following units" "$start"
    change_units start "$start"
    start_wanted
    rm -f "$lists/start-list"
    [ -z "$failures" ] || printf %s "$failures" >&2
}

# A unit that is to be reloaded may have been stopped with another one: it is started.
start_inactive() {
    for unit in $reload; do
        if systemctl is-active --quiet -- "$unit" 9>&-; then continue; fi
        reload=$(echo "$reload" | tr ' ' "$newline" | grep -vx -- "$unit" | words)
        start=$(echo "$start $unit" | words)
    done
    remember_all
}

# The real one starts the active targets: a unit that these want may fail without any message here.
# shellcheck disable=SC2046  # a list of units is meant to be split
start_wanted() {
    run systemctl start -- $(wanted) 2> /dev/null || :
    require_bus "Failed to process dbus messages while waiting for jobs"
}

# Any unit counts that has failed, or that systemd keeps restarting.
failed_units() {
    run systemctl list-units --all --plain --full --no-legend --no-pager \
        --state=failed,auto-restart |
        while read -r unit _ state sub _; do
            if [ "$state" = failed ] || { [ "$sub" = auto-restart ] &&
                [ "$(systemctl show -P ExecMainStatus -- "$unit")" != 0 ]; }; then
                echo "$unit"
            fi
        done | words
}

# shellcheck disable=SC2086  # a list of units is meant to be split
report() {
    phase settle
    sleep 0.2 # time for a broken unit to fail; later failures are for the deployer's checks
    appeared=
    for unit in $(active_units); do
        has "$active $start $restart" "$unit" || [ -z "$(unit_text "$new" "$unit")" ] ||
            appeared="$appeared $unit"
    done
    tell "the following new units were started" "${appeared# }"
    failed=$(failed_units)
    [ -n "$failed" ] || return 0
    code=4
    tell "warning: the following units failed" "$failed"
    run systemctl status --no-pager --full -- $failed >&2 || :
}

log() { run logger -t nixos -- "$1" || :; }

case $action in
check | switch | boot | test | dry-activate) ;;
*)
    say "usage: $0 check|switch|boot|test|dry-activate"
    exit 1
    ;;
esac
if [ "$(id -u)" != 0 ]; then
    say "$0: only root can switch systems"
    exit 1
fi
if [ ! -f /etc/NIXOS ] && ! grep -qs '^ID="\{0,1\}nixos' /etc/os-release; then
    say "This is not a NixOS installation!"
    exit 1
fi
mkdir -p "$lists" "${phases%/*}"
exec 9>> "$lock"
if ! flock --exclusive --nonblock 9; then
    say "Could not acquire lock"
    exit 11
fi

if [ "${NIXOS_NO_CHECK:-}" != 1 ] && ! run "$OUT/pre-switch-checks" "$OUT" "$action" >&2; then
    say "Pre-switch checks failed"
    exit 1
fi
[ "$action" != check ] || exit 0

case $action in
switch | boot)
    phase boot
    if ! run "$OUT/install-bootloader" "$OUT" >&2; then
        say "Failed to install bootloader"
        exit 1
    fi
    [ "$action" != boot ] || exit 0
    ;;
esac

# A host that has just booted runs no system yet, so there is nothing to compare with.
current=$(readlink -f /run/current-system || :)
if [ -e "$current/init-interface-version" ] &&
    [ "$(cat "$current/init-interface-version")" != "$(cat "$OUT/init-interface-version")" ]; then
    say "warning: the new system has another init interface; it takes a reboot to switch to it"
    exit 100
fi

open_bus
compare
if [ "$action" = dry-activate ]; then
    dry_activate
    exit 0
fi
log "switching to system configuration $OUT"
activate
report
if [ "$code" = 0 ]; then
    log "finished switching to system configuration $OUT"
else
    log "switching to system configuration $OUT failed (status $code)"
fi
exit "$code"
