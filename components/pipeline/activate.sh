#!/bin/sh
# The runner: the one script of flakeup that runs on a host (design: docs/decisions.md).
#
# It needs what every NixOS host has: sh, coreutils, util-linux' flock, systemd and nix; nothing
# of it is in a closure, so the way back works towards any system, whoever deployed it.
#
#   observe                             what the host runs, as one JSON line; reads only
#   start ID OLD|- NEW TIMEOUT BY       take the host, launch the attempt detached
#   follow ID OFFSET                    stream states and log as JSON lines until it rests
#   abort ID WHY                        give up an attempt that awaits confirmation
#   NEW                                 commit: the confirmation, over a connection of its own
#   run ID                              the attempt itself, in its own systemd unit
#
# Exit codes: 0 committed, unchanged or awaiting confirmation; 10 in progress; 20 rolled back;
# 24 boot loader; 30 blocked; 31 another system than planned; 50 rollback failed; 64 usage;
# 75 held by somebody else.
set -u
umask 077

ETC=/var/lib/flakeup
RUN=/run/flakeup
ROOTS=/nix/var/nix/gcroots/flakeup
PROFILE=/nix/var/nix/profiles/system
BOOTED=/proc/sys/kernel/random/boot_id
CONFIRM=120 # seconds that a host is held for a deployer that does not come to confirm
LOG_LIMIT=65536 # bytes of the log sent at a look: of a flood, its end

# /run/current-system changes under us: the tools are those of the system we began with.
begun=$(readlink -e /run/current-system 2>/dev/null) || begun=
PATH="${begun:+$begun/sw/bin:}$PATH:/run/current-system/sw/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LC_ALL=C
export PATH LC_ALL

# --- small things -------------------------------------------------------------------------

# A text as a JSON string, control characters dropped: who reads it trusts nothing. It is left in
# `quoted`, since a subshell for each text would be half the time of `observe`.
quote() { # TEXT
    case $1 in
    *[!a-zA-Z0-9._/:@\ -]*)
        quoted=\"$(
            printf '%s' "$1" | tr -d '\000-\037\177' | sed 's/\\/\\\\/g; s/"/\\"/g' | tr -d '\n'
        )\"
        ;;
    *) quoted=\"$1\" ;;
    esac
}

say() { # EVENT [KEY VALUE]...: one JSON line
    quote "$1"
    line="{\"schema\":1,\"event\":$quoted"
    shift
    while [ $# -ge 2 ]; do
        quote "$1"
        line="$line,$quoted"
        quote "$2"
        line="$line:$quoted"
        shift 2
    done
    printf '%s}\n' "$line"
}

finish() { # CODE EVENT [KEY VALUE]...: the last line of a verb
    code=$1
    shift
    say "$@"
    exit "$code"
}

# Written beside, synced, renamed: a crash leaves the old content or the new, never half.
put() { # FILE TEXT
    printf '%s\n' "$2" >"$1.tmp" && sync "$1.tmp" && mv -f "$1.tmp" "$1"
}

get() { cat "$1" 2>/dev/null || true; }

is_store_path() {
    case $1 in
    /nix/store/*/*) return 1 ;;
    /nix/store/????????????????????????????????-?*) return 0 ;;
    *) return 1 ;;
    esac
}

is_number() {
    case $1 in
    "" | *[!0-9]* | ??????????*) return 1 ;;
    *) return 0 ;;
    esac
}

is_attempt() {
    is_id "$1" && [ -d "$ETC/attempts/$1" ]
}

is_id() {
    case $1 in
    "" | *[!a-zA-Z0-9-]*) return 1 ;;
    *) return 0 ;;
    esac
}

current() { readlink -e /run/current-system 2>/dev/null || true; }
profile() { readlink -e "$PROFILE" 2>/dev/null || true; }
boot_id() { get "$BOOTED"; }
failed_units() { # one that systemd starts over and over is as bad as one that it gave up on
    systemctl list-units --all --state=failed,auto-restart --plain --no-legend --full 2>/dev/null |
        cut -d' ' -f1 | sort -u
}

# I3: one attempt a host; `current` names it.
attempt_id() {
    link=$(readlink "$ETC/current" 2>/dev/null) || link=
    printf '%s' "${link##*/}"
}
state() { get "$ETC/attempts/$1/state"; }
enter() { # ID STATE
    put "$ETC/attempts/$1/state" "$2"
}

state_age() { # ID: seconds since it entered its state
    entered=$(stat -c %Y "$ETC/attempts/$1/state" 2>/dev/null) || entered=0
    printf '%s' "$(($(date +%s) - entered))"
}

# Under way: an attempt of this boot that has not ended and that a unit still works on, or that
# awaits its confirmation. A boot ends every attempt: the default was OLD.
is_open() { # ID
    [ -n "$1" ] || return 1
    [ "$(get "$ETC/attempts/$1/boot-id")" = "$(boot_id)" ] || return 1
    case $(state "$1") in
    awaiting-confirm) [ "$(state_age "$1")" -le "$CONFIRM" ] ;;
    prepared | activating | checking | rolling-back | committing)
        systemctl is-active --quiet "flakeup-*-$1.service"
        ;;
    *) return 1 ;;
    esac
}

# An attempt that stopped half-way (its unit is gone) left NEW, or part of it, running.
is_stranded() { # ID
    [ -n "$1" ] && [ "$(get "$ETC/attempts/$1/boot-id")" = "$(boot_id)" ] || return 1
    case $(state "$1") in
    prepared | activating | checking | awaiting-confirm | committing) ! is_open "$1" ;;
    *) return 1 ;;
    esac
}

locked() { # every change of state is made under the one lock
    mkdir -p "$RUN"
    exec 9>"$RUN/lock"
    flock -w 20 9 || finish 75 refused reason "the lock of flakeup is held for more than 20 s"
}

# --- observe ------------------------------------------------------------------------------

foreign_switch() {
    [ -e /run/nixos/switch-to-configuration.lock ] || return 1
    ! flock -n /run/nixos/switch-to-configuration.lock true 2>/dev/null
}

generation() {
    link=$(readlink "$PROFILE" 2>/dev/null) || link=
    link=${link#system-}
    printf '%s' "${link%-link}"
}

free_bytes() { # FOLDER
    df -P -B1 "$1" 2>/dev/null | fourth_column
}

fourth_column() { # the fourth column of the second line, without awk: a minimal host has none
    {
        read -r _ || true
        read -r _ _ _ free _ || free=
        printf '%s' "$free"
    }
}

observe() {
    id=$(attempt_id)
    is_open "$id" || id=
    switching=no
    foreign_switch && switching=yes
    container=no
    systemd-detect-virt --container --quiet 2>/dev/null && container=yes
    finish 0 observed \
        bootId "$(boot_id)" \
        machineId "$(get /etc/machine-id)" \
        arch "$(uname -m)" \
        current "$(current)" \
        booted "$(readlink -e /run/booted-system 2>/dev/null)" \
        profile "$(profile)" \
        generation "$(generation)" \
        failed "$(failed_units | tr '\n' ' ')" \
        freeNix "$(free_bytes /nix/store)" \
        freeBoot "$(free_bytes /boot)" \
        container "$container" \
        switching "$switching" \
        attempt "$id" \
        attemptState "${id:+$(state "$id")}" \
        attemptNew "${id:+$(get "$ETC/attempts/$id/new")}"
}

# --- start --------------------------------------------------------------------------------

# The boot default is what the profile says, once `boot` has run for it: `settled` is written
# when a commit is complete, so a crash between `--set` and `boot` is seen and finished.
is_settled() { # NEW
    [ "$(current)" = "$1" ] && [ "$(profile)" = "$1" ] || return 1
    id=$(attempt_id)
    [ -z "$id" ] || [ "$(state "$id")" != committing ]
}

start() { # ID OLD|- NEW TIMEOUT BY
    id=$1 old=$2 new=$3 limit=$4 by=$5
    is_id "$id" || finish 64 refused reason "unusable id"
    is_store_path "$new" || finish 64 refused reason "unusable new system"
    [ "$old" = - ] || is_store_path "$old" || finish 64 refused reason "unusable old system"
    is_number "$limit" || finish 64 refused reason "unusable time"
    locked
    held=$(attempt_id)
    is_open "$held" && attach "$held" "$new"
    is_settled "$new" && finish 0 unchanged new "$new"
    # A copy that was cut off leaves a path that is there, and not valid.
    nix-store --check-validity "$new" 2>/dev/null || finish 11 absent new "$new"
    now=$(current)
    if is_stranded "$held"; then
        now=$(get "$ETC/attempts/$held/old")
        enter "$held" superseded
    fi
    # A host that runs neither OLD nor NEW was changed by somebody: they decide, not we.
    [ "$old" = - ] || [ "$now" = "$old" ] || [ "$now" = "$new" ] ||
        finish 31 drifted current "$now" old "$old" new "$new"
    foreign_switch && finish 75 held by "another switch-to-configuration" new ""
    system_is_whole "$new"
    prepare "$id" "$now" "$new" "$by"
    check_before "$id" "$new"
    launch "$id" "$limit"
    exec 9>&-
    say started id "$id" old "$now" new "$new"
    follow "$id" 0
}

# The same attempt started twice is one attempt; a different one has to wait for its end.
attach() { # ID NEW
    if [ "$(get "$ETC/attempts/$1/new")" = "$2" ]; then
        exec 9>&-
        say attached id "$1"
        follow "$1" 0
    fi
    finish 75 held id "$1" new "$(get "$ETC/attempts/$1/new")" \
        by "$(get "$ETC/attempts/$1/by")" state "$(state "$1")"
}

system_is_whole() { # NEW
    for part in bin/switch-to-configuration nixos-version activate; do
        [ -e "$1/$part" ] || finish 30 blocked reason "$1 has no $part: it is not a NixOS system"
    done
    wanted=$(get "$1/system")
    case $wanted in
    "" | "$(uname -m)-linux") ;;
    i686-linux) [ "$(uname -m)" = x86_64 ] || finish 30 blocked reason "built for $wanted" ;;
    *) finish 30 blocked reason "built for $wanted, and this host is $(uname -m)" ;;
    esac
}

# I4: OLD and NEW are GC roots from here on, and the last committed OLD stays one.
prepare() { # ID OLD NEW BY
    folder=$ETC/attempts/$1
    mkdir -p "$folder" "$ROOTS"
    note old "$2"
    note new "$3"
    note by "$4"
    note boot-id "$(boot_id)"
    note old-profile "$(profile)"
    note old-generation "$(generation)"
    note baseline-failed "$(failed_units)"
    : >"$folder/log"
    : >"$folder/failed-new"
    cp -f "$RUN/switch" "$folder/runner"
    [ -z "$2" ] || ln -sfn "$2" "$ROOTS/old"
    ln -sfn "$3" "$ROOTS/new"
    enter "$1" prepared
    ln -sfn "attempts/$1" "$ETC/current.tmp" && mv -fT "$ETC/current.tmp" "$ETC/current"
}

note() { printf '%s\n' "$2" >"$folder/$1"; } # NAME TEXT: made durable by the state that follows

check_before() { # ID NEW: what NixOS itself refuses is refused before anything has changed
    "$2/bin/switch-to-configuration" check >"$ETC/attempts/$1/log" 2>&1 9>&- && return 0
    # Systems from before the action `check` answer with their usage: not a verdict.
    grep -q -e '^Pre-switch checks failed' -e '^Could not acquire lock' "$ETC/attempts/$1/log" ||
        return 0
    enter "$1" blocked
    finish 30 blocked id "$1" \
        reason "its own checks refuse: $(tail -n 5 "$ETC/attempts/$1/log" | tr '\n' ' ')"
}

# I2, I5: the attempt is PID 1's from here on; its output goes to a file, never into an ssh pipe.
launch() { # ID LIMIT
    systemd-run --quiet --unit="flakeup-activate-$1" --collect --service-type=exec \
        -p "StandardOutput=append:$ETC/attempts/$1/log" \
        -p "StandardError=append:$ETC/attempts/$1/log" \
        -p KillMode=control-group -p TimeoutStopSec=20 \
        -- /bin/sh "$ETC/attempts/$1/runner" run "$1" "$2" 9>&- && return 0
    enter "$1" blocked
    finish 30 blocked reason "systemd-run refused to start the activation" id "$1"
}

# --- run: the attempt, in its own unit ----------------------------------------------------

run() { # ID LIMIT
    folder=$ETC/attempts/$1
    old=$(get "$folder/old") new=$(get "$folder/new")
    enter "$1" activating
    code=0
    [ "$(current)" = "$new" ] || activate "$new" "$2" test || code=$?
    note code "$code"
    judge "$code" "$folder" || revert "$1" "$old" "$2"
    # Health checks belong here (state `checking`), and the timers of the guard around it all.
    point_init "$old"
    enter "$1" awaiting-confirm
}

activate() { # SYSTEM LIMIT ACTION: tried again while another switch holds NixOS's own lock
    tries=0
    while :; do
        timeout --kill-after=20 "$2" "$1/bin/switch-to-configuration" "$3"
        result=$?
        [ "$result" = 11 ] && [ "$tries" -lt 5 ] || return "$result"
        tries=$((tries + 1))
        sleep 5
    done
}

# Exit codes of `switch-to-configuration test` (activation.md §4). 4 says that some unit on the
# host failed: only those that had not failed before are a verdict.
judge() { # CODE FOLDER
    case $1 in
    0) return 0 ;;
    4)
        # Between two starts of a unit it is neither: so those that the switch has named, too.
        {
            failed_units
            sed -n 's/^warning: the following units failed: //p' "$2/log" | tr -d ' ' | tr ',' '\n'
        } | sort -u >"$2/failed-now"
        new_failures "$2"
        [ -z "$(get "$2/failed-new")" ]
        ;;
    *) return 1 ;;
    esac
}

new_failures() { # FOLDER
    : >"$1/failed-new"
    while read -r unit; do
        case $unit in "" | flakeup-*) continue ;; esac
        grep -qxF -- "$unit" "$1/baseline-failed" || printf '%s\n' "$unit" >>"$1/failed-new"
    done <"$1/failed-now"
}

revert() { # ID OLD LIMIT: back to OLD by its absolute path, never `nix-env --rollback`
    folder=$ETC/attempts/$1
    if nothing_changed; then
        enter "$1" blocked
        exit 30
    fi
    enter "$1" rolling-back
    [ -z "$2" ] || NIXOS_NO_CHECK=1 activate "$2" "$3" test
    note revert-code "$?"
    point_init "$2"
    if [ "$(current)" = "$2" ]; then
        enter "$1" rolled-back
        exit 20
    fi
    enter "$1" rollback-failed
    exit 50
}

nothing_changed() {
    case $(get "$folder/code") in
    100 | 11) return 0 ;;
    1) grep -q '^Pre-switch checks failed' "$folder/log" ;;
    *) return 1 ;;
    esac
}

# I1: in containers NixOS re-points /sbin/init at every activation; until commit it is OLD's.
point_init() { # OLD
    case $(readlink /sbin/init 2>/dev/null) in
    /nix/store/*-nixos-system-*/init) ;;
    *) return 0 ;;
    esac
    [ -z "$1" ] || { ln -sfn "$1/init" /sbin/init.tmp && mv -fT /sbin/init.tmp /sbin/init; }
}

# --- follow -------------------------------------------------------------------------------

follow() { # ID OFFSET: bounded (60 s): who follows opens it again
    folder=$ETC/attempts/$1 offset=$2 seen='' turns=0 now=''
    while [ "$turns" -lt 240 ]; do
        read -r now <"$folder/state" || now=''
        if [ "$now" != "$seen" ]; then
            stream
            say state state "$now" offset "$offset"
            seen=$now
        elif [ "$((turns % 4))" -eq 0 ]; then
            stream
        fi
        case $now in
        awaiting-confirm | committing | committed) rest 0 ;;
        rolled-back) rest 20 ;;
        rollback-failed) rest 50 ;;
        blocked | superseded) rest 30 ;;
        *) [ "$((turns % 8))" -ne 7 ] || is_open "$1" || died "$1" ;;
        esac
        sleep 0.25
        turns=$((turns + 1))
    done
    finish 10 progress state "$now" offset "$offset"
}

stream() { # what was added to the log since OFFSET, a JSON line each
    size=$(stat -c %s "$folder/log" 2>/dev/null) || size=0
    [ "$size" -gt "$offset" ] || return 0
    [ "$((size - offset))" -le "$LOG_LIMIT" ] || offset=$((size - LOG_LIMIT))
    tail -c "+$((offset + 1))" "$folder/log" | head -c "$((size - offset))" |
        tr -d '\000-\010\013-\037\177' | cut -c 1-2000 |
        sed 's/\\/\\\\/g; s/"/\\"/g; s/\t/ /g
             s/^/{"schema":1,"event":"log","text":"/; s/$/"}/'
    offset=$size
    say progress state "$now" offset "$offset"
}

died() { # ID: its unit ended and left the state behind; look again, it may just have moved on
    read -r now <"$folder/state" || now=''
    [ "$now" = "$seen" ] || return 0
    stream
    finish 50 died state "$now" current "$(current)" offset "$offset"
}

rest() { # CODE: the attempt rests; say all there is to know
    finish "$1" result \
        id "${folder##*/}" \
        state "$now" \
        old "$(get "$folder/old")" \
        new "$(get "$folder/new")" \
        current "$(current)" \
        code "$(get "$folder/code")" \
        units "$(tr '\n' ' ' <"$folder/failed-new" 2>/dev/null)" \
        journal "$(journal_of_failed)" \
        offset "$offset"
}

journal_of_failed() {
    read -r unit _ <"$folder/failed-new" 2>/dev/null || return 0
    journalctl --unit="$unit" --lines=20 --no-pager --output=cat 2>/dev/null |
        cut -c 1-190 | tr '\n' '|' # 20 of them fit into the 4000 characters of a field
}

# --- commit -------------------------------------------------------------------------------

# The caller's connection is the proof that network, sshd, keys and sudo of NEW work. The work is
# done in a unit of its own, so that losing the connection now does no harm; asked again, it
# answers the same.
commit() { # NEW
    new=$1
    is_store_path "$new" || finish 64 refused reason "not a store path"
    locked
    id=$(attempt_id)
    case $(state "${id:-none}") in
    awaiting-confirm | committing)
        [ "$(get "$ETC/attempts/$id/new")" = "$new" ] || refuse_commit "the attempt is for another"
        [ "$(get "$ETC/attempts/$id/boot-id")" = "$(boot_id)" ] ||
            refuse_commit "the host has been rebooted since"
        [ "$(current)" = "$new" ] || refuse_commit "the host runs another system"
        ;;
    *)
        is_settled "$new" && finish 0 unchanged outcome unchanged toplevel "$new"
        refuse_commit "no attempt awaits a confirmation"
        ;;
    esac
    enter "$id" committing
    exec 9>&-
    systemd-run --quiet --unit="flakeup-commit-$$-$id" --wait --collect --service-type=exec \
        -p "StandardOutput=append:$ETC/attempts/$id/log" \
        -p "StandardError=append:$ETC/attempts/$id/log" \
        -p RuntimeMaxSec=60 \
        -- /bin/sh "$ETC/attempts/$id/runner" settle "$id"
    case $(state "$id") in
    committed) finish 0 committed outcome committed toplevel "$new" generation "$(generation)" ;;
    *) finish 24 failed reason "the commit failed: $(tail -n 3 "$ETC/attempts/$id/log")" ;;
    esac
}

refuse_commit() { # WHY
    finish 31 refused reason "$1" current "$(current)" new "$new"
}

# Boot entries are made from the profile's generations: `--set` first, then `boot`.
settle() { # ID
    locked
    folder=$ETC/attempts/$1
    [ "$(state "$1")" = committing ] || exit 0
    old=$(get "$folder/old") new=$(get "$folder/new") before=$(get "$folder/old-profile")
    nix-env --profile "$PROFILE" --set "$new" || unsettle "$1" "$before"
    point_init "$new"
    "$new/bin/switch-to-configuration" boot 9>&- || unsettle "$1" "$before"
    [ "$(profile)" = "$new" ] || unsettle "$1" "$before"
    [ -z "$old" ] || ln -sfn "$old" "$ROOTS/last"
    enter "$1" committed
}

unsettle() { # ID PROFILE: the boot default goes back with the system
    folder=$ETC/attempts/$1
    [ -z "$2" ] || nix-env --profile "$PROFILE" --set "$2"
    old=$(get "$folder/old")
    if [ -n "$old" ]; then
        "$old/bin/switch-to-configuration" boot 9>&-
        NIXOS_NO_CHECK=1 "$old/bin/switch-to-configuration" test 9>&-
        point_init "$old"
    fi
    ended=rollback-failed
    [ "$(current)" != "$old" ] || ended=rolled-back
    enter "$1" "$ended"
    exit 24
}

# --- abort --------------------------------------------------------------------------------

abort() { # ID WHY
    locked
    [ "$(state "$1")" = awaiting-confirm ] ||
        finish 31 refused reason "not awaiting a confirmation" state "$(state "$1")"
    folder=$ETC/attempts/$1
    note aborted "$2"
    enter "$1" rolling-back
    exec 9>&-
    systemd-run --quiet --unit="flakeup-revert-$1" --wait --collect --service-type=exec \
        -p "StandardOutput=append:$ETC/attempts/$1/log" \
        -p "StandardError=append:$ETC/attempts/$1/log" \
        -- /bin/sh "$ETC/attempts/$1/runner" back "$1"
    finish 20 aborted state "$(state "$1")" current "$(current)"
}

main() {
    verb=${1:-}
    [ $# -gt 0 ] && shift
    case $verb in
    /nix/store/*) commit "$verb" ;;
    observe) observe ;;
    start) [ $# -ne 5 ] || start "$@" ;;
    follow) [ $# -ne 2 ] || { is_attempt "$1" && is_number "$2" && follow "$@"; } ;;
    abort) [ $# -ne 2 ] || { is_attempt "$1" && abort "$@"; } ;;
    run) [ $# -ne 2 ] || { is_attempt "$1" && is_number "$2" && run "$@" && exit 0; } ;;
    back) [ $# -ne 1 ] || { is_attempt "$1" && revert "$1" "$(get "$ETC/attempts/$1/old")" 600; } ;;
    settle) [ $# -ne 1 ] || { is_attempt "$1" && settle "$1" && exit 0; } ;;
    esac
    finish 64 refused reason "usage: observe | start | follow | abort | /nix/store/…"
}

# Read whole before it runs: the file may be replaced meanwhile.
# shellcheck disable=SC2317 # reached by verbs that do not exit themselves
{ main "$@" </dev/null; exit; }
