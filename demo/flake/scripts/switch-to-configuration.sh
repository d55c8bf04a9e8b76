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

# Lists of units are words separated by single blanks; unit names have neither blanks nor wildcards.
has() { case " $1 " in *" $2 "*) ;; *) return 1 ;; esac; }
commas() { printf '%s\n' "$*" | sed 's/ /, /g'; }
tell() { [ -z "$2" ] || say "$1: $(commas "$2")"; }
words() { # the words on stdin, sorted, once each, in one line
    tr -s ' ' "$newline" | sed '/^$/d' | sort -u | paste -sd ' ' -
}

# The text of a unit in the tree $1, drop-ins included; of an instance its template's; else nothing.
unit_text() {
    file=$2
    if [ ! -e "$1/$file" ]; then
        case $file in *@*) file=${file%%@*}@.${file##*.} ;; esac
    fi
    for part in "$1/$file" "$1/$file.d"/*.conf; do
        [ ! -f "$part" ] || cat "$part"
    done
}

# Whether this is a unit of the distribution: removing our drop-in then changes it, not removes it.
on_host() { [ -e "/usr/lib/systemd/system/$1" ] || [ -e "/etc/systemd/system/$1" ]; }

active_units() {
    run systemctl list-units --plain --full --no-legend --no-pager \
        --state=active,activating,reloading | cut -d ' ' -f 1 | words
}

# Units that the two trees know by name, and running instances of their templates.
candidates() {
    {
        for path in "$old"/* "$new"/*; do
            name=${path##*/}
            case $name in
            *.wants | *.requires | '*') ;;
            *.d) echo "${name%.d}" ;;
            *@.*) ;;
            *) echo "$name" ;;
            esac
        done
        for name in $active; do
            case $name in
            *@*)
                template=${name%%@*}@.${name##*.}
                if [ -e "$old/$template" ] || [ -e "$new/$template" ]; then echo "$name"; fi
                ;;
            esac
        done
    } | words
}

says() { # TEXT KEY VALUE: does the unit's text hold KEY=VALUE?
    case "$newline$1$newline" in *"$newline$2=$3$newline"*) ;; *) return 1 ;; esac
}

# Decide about an active unit whose text has changed.
judge() { # UNIT OLD-TEXT NEW-TEXT
    if [ -z "$3" ] && ! on_host "$1"; then
        says "$2" X-StopOnRemoval false || stop="$stop $1"
        return
    fi
    case $1 in
    *.target | *.socket | *.slice | *.path) return ;; # the real one does not touch these
    *.mount) reload="$reload $1" && return ;;
    esac
    if says "$3" X-ReloadIfChanged true; then
        reload="$reload $1"
    elif says "$3" X-RestartIfChanged false || says "$3" RefuseManualStop true ||
        says "$3" X-OnlyManualStart true; then
        skip="$skip $1"
    elif says "$3" X-StopIfChanged false || on_host "$1"; then
        restart="$restart $1"
    else
        # Stop by the old definition, activate, start by the new one.
        stop="$stop $1" start="$start $1"
    fi
}

# Fill stop, start, restart, reload and skip from the old tree, the new one and the active units.
compare() {
    stop='' start='' restart='' reload='' skip=''
    active=$(active_units)
    for unit in $(candidates); do
        has "$active" "$unit" || continue
        before=$(unit_text "$old" "$unit")
        after=$(unit_text "$new" "$unit")
        [ "$before" = "$after" ] || judge "$unit" "$before" "$after"
    done
    # Stopped, but not started again, by an interrupted run.
    start="$start $(leftover start)"
    restart="$restart $(leftover restart)"
    reload="$reload $(leftover reload)"
    stop=${stop# } skip=${skip# }
    start=$(echo "$start" | words) restart=$(echo "$restart" | words) reload=$(echo "$reload" | words)
}

leftover() {
    [ -e "$lists/$1-list" ] || return 0
    while read -r unit; do
        if [ -n "$(unit_text "$new" "$unit")" ] || on_host "$unit"; then echo "$unit"; fi
    done < "$lists/$1-list" | words
}

remember() { # KIND UNITS
    rm -f "$lists/$1-list"
    [ -z "$2" ] || printf '%s\n' "$2" | tr ' ' "$newline" > "$lists/$1-list"
}

# The units that targets of the system pull in, without dangling links: this host lacks those units.
wanted() {
    for path in "$new"/*.target.wants/*; do
        [ ! -e "$path" ] || echo "${path##*/}"
    done | words
}

dry_activate() {
    tell "would stop the following units" "$stop"
    tell "would NOT stop the following changed units" "$skip"
    say "would activate the configuration..."
    "$OUT/dry-activate" "$OUT" || :
    tell "would reload the following units" "$reload"
    tell "would restart the following units" "$restart"
    tell "would start the following units" "$start"
    appear=
    for unit in $(wanted); do has "$active $start" "$unit" || appear="$appear $unit"; done
    tell "would start the following new units" "${appear# }"
    exit 0
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

# What the activation script asks for, in files of its own.
add_requests() {
    for unit in $(requested restart); do
        if ! has "$active" "$unit"; then
            start="$start $unit"
        else
            restart="$restart $unit"
        fi
    done
    for unit in $(requested reload); do
        if has "$active" "$unit" && ! has "$restart $stop" "$unit"; then reload="$reload $unit"; fi
    done
    start=${start# } restart=${restart# } reload=${reload# }
    remember start "$start"
    remember restart "$restart"
    remember reload "$reload"
}

requested() { # KIND
    [ -e "$lists/activation-$1-list" ] || return 0
    words < "$lists/activation-$1-list"
    rm -f "$lists/activation-$1-list"
}

activate() {
    phase stop
    if fault stops-dbus && [ "$(parameter stops-dbus)" = stop ]; then
        stop="$stop dbus.service dbus.socket" start="$start dbus.socket"
        stop=${stop# } start=${start# }
    fi
    remember start "$start"
    remember restart "$restart"
    remember reload "$reload"
    tell "stopping the following units" "$stop"
    change_units stop "$stop"
    tell "NOT restarting the following changed units" "$skip"

    phase activate
    say "activating the configuration..."
    if ! run env NIXOS_ACTION="$action" "$OUT/activate" "$OUT" >&2; then
        say "Failed to run activate script"
        code=2
    fi
    add_requests

    phase reload
    # Reset earlier failures: what has failed in the end is due to this system.
    require_bus "Failed to reset failed units"
    run systemctl reset-failed || :
    run systemctl daemon-reload || code=4
    activate_users || code=4
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
old=$current/etc/systemd/system
if [ -e "$current/init-interface-version" ] &&
    [ "$(cat "$current/init-interface-version")" != "$(cat "$OUT/init-interface-version")" ]; then
    say "warning: the new system has another init interface; it takes a reboot to switch to it"
    exit 100
fi

open_bus
compare
[ "$action" != dry-activate ] || dry_activate
log "switching to system configuration $OUT"
activate
report
if [ "$code" = 0 ]; then
    log "finished switching to system configuration $OUT"
else
    log "switching to system configuration $OUT failed (status $code)"
fi
exit "$code"
