#!/bin/sh
# The runner: the one script of flakeup that runs on a host (design: docs/decisions.md).
#
# It needs what every NixOS host has: sh, coreutils, util-linux' flock, systemd and nix (and curl
# and bash for health checks over the network); nothing of it is in a closure, so the way back
# works towards any system, whoever deployed it.
#
#   observe              what the host runs, as one JSON line; reads only
#   start ID OLD|- NEW   take the host, arm the way back, launch the attempt; its spec on stdin
#   follow ID OFFSET     stream states and log as JSON lines until it rests
#   abort ID WHY         give up an attempt that awaits confirmation
#   NEW                  commit: the confirmation, over a connection of its own
#   history              the attempts that are remembered, newest last, a JSON line each
# and, in units of their own that PID 1 starts:
#   run ID               the attempt: activate, check, await
#   settle ID            the commit's work
#   back ID TRIGGER      the way back to OLD
#
# Exit codes: 0 committed, unchanged or awaiting confirmation; 10 in progress; 11 closure absent;
# 20 rolled back: activation; 21 checks; 22 not confirmed; 23 reboot or crash; 24 boot loader;
# 30 blocked; 31 superseded, or another system than planned; 50 rollback failed; 64 usage;
# 75 held by somebody else.
#
# Invariants, marked where they are kept:
#   I1 the boot default is OLD until the commit
#   I2 from before the first unit is stopped until the end, PID 1 holds an armed timer
#   I3 one attempt a host; each verb can be repeated with the same result
#   I4 OLD and NEW are GC roots meanwhile; the last committed OLD stays one
#   I5 the log is a file on the host, capped, never a pipe into ssh
#   I6 what is reported is what the host says at the end
set -u
umask 077

ETC=/var/lib/flakeup
RUN=/run/flakeup
ROOTS=/nix/var/nix/gcroots/flakeup
PROFILE=/nix/var/nix/profiles/system
BOOTED=/proc/sys/kernel/random/boot_id
LOG_SENT=65536 # bytes of the log sent at a look: of a flood, its end
LOG_KEPT=524288 # bytes of the log kept on disk: so many of its beginning, and of its end
SPEC_LIMIT=1048576 # bytes; sixteen checks with long texts fit
REMEMBERED=50 # attempts
# Units that let people in: those that were active before are active after a way back.
# Not a connection's own instance (sshd@…).
NETWORK_UNITS='^(ssh|sshd)[.-]|network|NetworkManager|dhcpcd|wpa_supplicant|iwd|firewall|nftables|iptables|tailscaled|wireguard|wg-quick|openvpn|resolved'
KILL_AFTER=5 # seconds from SIGTERM to SIGKILL for an activation over its time
US=$(printf '\037') # between the fields of a check: the config lets no control character in

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

one_line() { tr '\n' ' ' | sed 's/ *$//'; }

now() { # hundredths of a second of a clock that nobody sets, left in `uptime`
    read -r uptime _ </proc/uptime
    uptime=$((${uptime%.*} * 100 + 1${uptime#*.} - 100))
}

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

is_id() {
    case $1 in
    "" | *[!a-zA-Z0-9-]*) return 1 ;;
    *) return 0 ;;
    esac
}

is_attempt() {
    is_id "$1" && [ -d "$ETC/attempts/$1" ]
}

current() { readlink -e /run/current-system 2>/dev/null || true; }
profile() { readlink -e "$PROFILE" 2>/dev/null || true; }
boot_id() { get "$BOOTED"; }

units_in() { # STATE,...: units in these states; our own are not the host's
    systemctl list-units --all --state="$1" --plain --no-legend --full 2>/dev/null |
        cut -d' ' -f1 | grep -v '^flakeup-' | sort -u
}
failed_units() { # one that systemd starts over and over is as bad as one that it gave up on
    units_in failed,auto-restart
}

# --- the attempt on disk ------------------------------------------------------------------

# I3: one attempt a host; `current` names it.
attempt_id() {
    link=$(readlink "$ETC/current" 2>/dev/null) || link=
    printf '%s' "${link##*/}"
}
state() { get "$ETC/attempts/$1/state"; }
enter() { # ID STATE; on a full disk the log makes room for it
    put "$ETC/attempts/$1/state" "$2" && return
    : >"$ETC/attempts/$1/log"
    put "$ETC/attempts/$1/state" "$2"
}
note() { printf '%s\n' "$2" >"$folder/$1"; } # NAME TEXT: made durable by the state that follows
note_first() { [ -e "$folder/$1" ] || note "$1" "$2"; } # the first reason is the reason

locked() { # [SECONDS]: every change of state is made under the one lock
    mkdir -p "$RUN"
    exec 9>"$RUN/lock"
    flock -w "${1:-20}" 9 || finish 75 refused reason "the lock of flakeup is held by another call"
}
unlocked() { exec 9>&-; }

advance() { # ID FROM TO: what was decided meanwhile (a timer, another call) is not undone
    locked
    advanced=1
    [ "$(state "$1")" != "$2" ] || ! enter "$1" "$3" || advanced=0
    unlocked
    return "$advanced"
}

has_ended() { # STATE
    case $1 in
    committed | rolled-back | rollback-failed | blocked | superseded | "") return 0 ;;
    *) return 1 ;;
    esac
}

# Under way: an attempt of this boot that has not ended, and that PID 1 still holds a unit or a
# timer for. A boot ends every attempt: the default was OLD.
is_open() { # ID
    [ -n "$1" ] && ! has_ended "$(state "$1")" && is_of_this_boot "$1" && is_held "$1"
}

is_of_this_boot() { [ "$(get "$ETC/attempts/$1/boot-id")" = "$(boot_id)" ]; } # ID

is_held() { # ID
    [ -n "$(systemctl list-units --all --plain --no-legend \
        --state=active,activating,reloading,deactivating "flakeup-*-$1.*" 2>/dev/null)" ]
}

# An attempt of this boot that nothing will bring to its end: somebody has taken its units away.
is_stranded() { # ID
    [ -n "$1" ] && ! has_ended "$(state "$1")" && is_of_this_boot "$1" && ! is_held "$1"
}

# A boot before the commit was the way back. One in the middle of a commit has come after the
# confirmation: the next attempt brings it to its end.
end_by_boot() { # ID
    [ -n "$1" ] && ! has_ended "$(state "$1")" && ! is_of_this_boot "$1" || return 0
    folder=$ETC/attempts/$1
    note_first reason "the host was rebooted"
    note exit 23
    [ "$(state "$1")" = committing ] || enter "$1" rolled-back
}

read_spec() { # the spec on stdin: its numbers, or the defaults where it has none
    timeout=600 settle=10 deadline=120 confirm=120 bound=60 keep=0 mode=switch by=unknown
    while read -r key value; do
        case $key in
        mode) [ "$value" != boot ] || mode=boot ;;
        by) by=$value ;;
        esac
        is_number "$value" || continue
        case $key in
        timeout) timeout=$value ;;
        settle) settle=$value ;;
        deadline) deadline=$value ;;
        confirm) confirm=$value ;;
        commit) bound=$value ;;
        keep) keep=$value ;;
        esac
    done
}

# --- units of an attempt ------------------------------------------------------------------

# The shell by its own path: what /bin/sh leads to is changed by an activation, and the way back
# needs nothing of NEW.
shell=$(readlink -f /bin/sh)

in_unit() { # UNIT "VERB ID..." OPTION...: a verb of this attempt's own runner, run by PID 1
    unit=$1 verb=$2
    shift 2
    # shellcheck disable=SC2086 # verb, id and trigger hold neither blanks nor wildcards
    systemd-run --quiet --unit="$unit" --collect --service-type=exec \
        -p "StandardOutput=append:$folder/log" -p "StandardError=append:$folder/log" \
        -p KillMode=control-group -p TimeoutStopSec=20 \
        "$@" -- "$shell" "$folder/runner" $verb 9>&-
}

# I2: a timer of PID 1, monotonic, so that a clock that jumps doesn't matter. The default accuracy
# is a minute. A way back that is killed itself is begun again.
arm() { # ID TRIGGER SECONDS
    in_unit "flakeup-$2-$1" "back $1 $2" --on-active="$3" --timer-property=AccuracySec=1s \
        -p Restart=on-failure -p RestartSec=1 \
        -p StartLimitIntervalSec=600 -p StartLimitBurst=5 &&
        systemctl is-active --quiet "flakeup-$2-$1.timer"
}

disarm() { # ID TRIGGER...
    id=$1
    shift
    for trigger in "$@"; do
        set -- "$@" "flakeup-$trigger-$id.timer"
        shift
    done
    systemctl stop "$@" 2>/dev/null || true # those that are not there
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
        failed "$(failed_units | one_line)" \
        freeNix "$(free_bytes /nix/store)" \
        freeBoot "$(free_bytes /boot)" \
        container "$container" \
        switching "$switching" \
        attempt "$id" \
        attemptState "${id:+$(state "$id")}" \
        attemptNew "${id:+$(get "$ETC/attempts/$id/new")}"
}

history() {
    for folder in "$ETC"/attempts/*/; do
        folder=${folder%/}
        [ -e "$folder/state" ] || continue
        read_spec <"$folder/spec"
        say attempt \
            id "${folder##*/}" \
            state "$(get "$folder/state")" \
            reason "$(get "$folder/reason")" \
            by "$by" \
            old "$(get "$folder/old")" \
            new "$(get "$folder/new")" \
            release "$(sed -n 's/^release //p' "$folder/spec" 2>/dev/null)" \
            ended "$(stat -c %Y "$folder/state" 2>/dev/null)"
    done
    exit 0
}

# --- start --------------------------------------------------------------------------------

# The boot default is what the profile says, once `boot` has run for it: a crash between `--set`
# and `boot` leaves `committing` behind, and is finished by the next attempt.
is_settled() { # NEW
    [ "$(profile)" = "$1" ] || return 1
    [ "$(current)" = "$1" ] || [ "$mode" = boot ] || return 1
    id=$(attempt_id)
    [ -z "$id" ] || [ "$(state "$id")" != committing ]
}

start() { # ID OLD|- NEW, the spec on stdin
    id=$1 old=$2 new=$3
    is_id "$id" || finish 64 refused reason "unusable id"
    is_store_path "$new" || finish 64 refused reason "unusable new system"
    [ "$old" = - ] || is_store_path "$old" || finish 64 refused reason "unusable old system"
    spec=$(head -c "$((SPEC_LIMIT + 1))")
    [ "${#spec}" -le "$SPEC_LIMIT" ] || finish 64 refused reason "the spec is too long"
    read_spec <<END
$spec
END
    locked
    held=$(attempt_id)
    end_by_boot "$held"
    is_open "$held" && attach "$held" "$new"
    is_settled "$new" && finish 0 unchanged new "$new"
    # A copy that was cut off leaves a path that is there, and not valid.
    nix-store --check-validity "$new" 2>/dev/null || finish 11 absent new "$new"
    now=$(current) again=no
    if is_stranded "$held"; then
        now=$(get "$ETC/attempts/$held/old") again=yes
    fi
    # A host that runs neither OLD nor NEW was changed by somebody: they decide, not we.
    # With `mode boot` OLD may be staged only: it boots, and has not run yet.
    [ "$old" = - ] || [ "$now" = "$old" ] || [ "$now" = "$new" ] ||
        { [ "$mode" = boot ] && [ "$(profile)" = "$old" ]; } ||
        finish 31 drifted current "$now" old "$old" new "$new"
    foreign_switch && finish 75 held by "another switch-to-configuration" new ""
    system_is_whole "$new"
    [ "$again" = no ] || supersede "$held"
    prepare "$id" "$now" "$new"
    check_before "$id" "$new"
    launch "$id"
    unlocked
    say started id "$id" old "$now" new "$new"
    follow "$id" 0
}

supersede() { # ID
    folder=$ETC/attempts/$1
    note exit 31
    enter "$1" superseded
}

# The same attempt started twice is one attempt; a different one has to wait for its end.
attach() { # ID NEW
    if [ "$(get "$ETC/attempts/$1/new")" = "$2" ]; then
        unlocked
        say attached id "$1"
        follow "$1" 0
    fi
    read_spec <"$ETC/attempts/$1/spec"
    finish 75 held id "$1" new "$(get "$ETC/attempts/$1/new")" by "$by" state "$(state "$1")"
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

prepare() { # ID OLD NEW; `spec` and `again` as `start` has them
    folder=$ETC/attempts/$1
    mkdir -p "$folder" "$ROOTS"
    printf '%s\n' "$spec" >"$folder/spec"
    note old "$2"
    note new "$3"
    note again "$again"
    note boot-id "$(boot_id)"
    note old-profile "$(profile)"
    note old-generation "$(generation)"
    note baseline-failed "$(failed_units)"
    note baseline-network "$(units_in active | grep -E "$NETWORK_UNITS")"
    : >"$folder/log"
    : >"$folder/failed-new"
    if ! cp -f "$RUN/switch" "$folder/runner" || ! enter "$1" prepared; then
        rm -rf "$folder"
        finish 30 blocked id "$1" reason "no room for the attempt's own files in $ETC"
    fi
    root old "$2"
    root new "$3"
    ln -sfn "attempts/$1" "$ETC/current.tmp" && mv -fT "$ETC/current.tmp" "$ETC/current"
    forget
}

# I4: OLD and NEW are GC roots from here on, and the last committed OLD stays one.
root() { # NAME SYSTEM
    [ -z "$2" ] || ln -sfn "$2" "$ROOTS/$1"
}

forget() { # all but the newest attempts; their ids sort by time
    find "$ETC/attempts" -mindepth 1 -maxdepth 1 -type d | sort -r | tail -n "+$((REMEMBERED + 1))" |
        while read -r stale; do rm -rf "$stale"; done
}

check_before() { # ID NEW: what NixOS itself refuses is refused before anything has changed
    "$2/bin/switch-to-configuration" check >"$folder/log" 2>&1 9>&- && return 0
    # Systems from before the action `check` answer with their usage: not a verdict.
    grep -q -e '^Pre-switch checks failed' -e '^Could not acquire lock' "$folder/log" || return 0
    refuse_start "$1" "its own checks refuse: $(tail -n 5 "$folder/log" | one_line)"
}

refuse_start() { # ID REASON
    block "$1" "$2"
    finish 30 blocked id "$1" reason "$2"
}

block() { # ID REASON: nothing has been changed
    note reason "$2"
    note exit 30
    enter "$1" blocked
    disarm "$1" revert
    unroot
}

unroot() { rm -f "$ROOTS/old" "$ROOTS/new"; }

# From here on the attempt is PID 1's: its way back first, then itself, with the way back as what
# follows when it fails or is killed.
launch() { # ID; `timeout` and `deadline` as `start` has read them
    arm "$1" revert "$((timeout + KILL_AFTER + deadline))" ||
        refuse_start "$1" "systemd did not arm the timer of the way back"
    in_unit "flakeup-activate-$1" "run $1" --no-block \
        -p "OnFailure=flakeup-revert-$1.service" -p KillSignal=SIGKILL ||
        refuse_start "$1" "systemd-run refused to start the activation"
}

# --- run: the attempt, in its own unit ----------------------------------------------------

run() { # ID
    folder=$ETC/attempts/$1
    old=$(get "$folder/old") new=$(get "$folder/new")
    read_spec <"$folder/spec"
    advance "$1" prepared activating || exit 0
    now
    began=$uptime
    [ "$mode" = boot ] || switch_to_new "$1"
    advance "$1" activating checking || exit 0
    point_init "$old"
    [ "$mode" = boot ] || check "$1"
    now
    note seconds "$(((uptime - began) / 100))"
    await "$1"
}

switch_to_new() { # ID
    code=0
    [ "$(current)" = "$new" ] && [ "$(get "$folder/again")" = no ] && return
    logged activate "$new" "$timeout" test
    note code "$code"
    judge "$1" "$code"
}

# I5: of a flood only the first and the last part are kept. `stdbuf`, so that it can be followed;
# what outlives the activation and still holds the pipe is not waited for.
logged() { # COMMAND...: its exit status is left in `code`
    pipe=$folder/pipe
    rm -f "$pipe"
    mkfifo "$pipe" || pipe=/dev/null # a full disk is no reason not to go back
    { stdbuf -o0 head -c "$LOG_KEPT"; tail -c "$LOG_KEPT"; cat >/dev/null; } <"$pipe" &
    keeper=$!
    "$@" >"$pipe" 2>&1 || code=$?
    rm -f "$folder/pipe"
    tries=0
    while kill -0 "$keeper" 2>/dev/null && [ "$tries" -lt 50 ]; do
        sleep 0.02
        tries=$((tries + 1))
    done
}

# shellcheck disable=SC2329 # called by `logged`
activate() { # SYSTEM LIMIT ACTION: tried again while another switch holds NixOS's own lock
    tries=0
    while :; do
        timeout --kill-after="$KILL_AFTER" "$2" "$1/bin/switch-to-configuration" "$3"
        result=$?
        [ "$result" = 11 ] && [ "$tries" -lt 5 ] || return "$result"
        tries=$((tries + 1))
        sleep 5
    done
}

# Exit codes of `switch-to-configuration test`: 4 says that some unit on the host has failed, and
# the checks decide whether that is this system's doing.
judge() { # ID CODE
    why=
    case $2 in
    0 | 4) return ;;
    100) why="the init interface changed: this release needs a reboot" ;;
    11) why="another switch-to-configuration held its lock" ;;
    1) ! grep -q '^Pre-switch checks failed' "$folder/log" ||
        why="its own checks refuse: $(tail -n 5 "$folder/log" | one_line)" ;;
    esac
    if [ -n "$why" ]; then # nothing has been changed
        block "$1" "$why"
        exit 0
    fi
    case $2 in
    124 | 137) fail 20 "the activation did not end within $timeout s" ;;
    *) fail 20 "the activation ended with $2" ;;
    esac
}

fail() { # CODE REASON: the unit fails, and PID 1 begins the way back
    note_first reason "$2"
    note exit "$1"
    exit 1
}

await() { # ID
    # I2: the next timer before the last one is stopped.
    arm "$1" unconfirmed "$confirm" || fail 20 "systemd did not arm the timer of the confirmation"
    if advance "$1" checking awaiting-confirm; then
        disarm "$1" revert
    else
        disarm "$1" unconfirmed
    fi
}

# I1: in containers NixOS re-points /sbin/init at every activation; until commit it is OLD's.
point_init() { # SYSTEM
    case $(readlink /sbin/init 2>/dev/null) in
    /nix/store/*-nixos-system-*/init) ;;
    *) return 0 ;;
    esac
    [ -z "$1" ] || { ln -sfn "$1/init" /sbin/init.tmp && mv -fT /sbin/init.tmp /sbin/init; }
}

# --- check: is the host well? -------------------------------------------------------------

check() { # ID: settle, units, and the checks of the spec side by side; all of it within `deadline`
    now
    end=$((uptime + deadline * 100))
    settle_units "$settle"
    count=0
    while IFS=$US read -r word _; do
        [ "$word" != check ] || count=$((count + 1))
    done <"$folder/spec"
    [ "$count" -gt 0 ] || return 0
    begin_checks
    shown='' pause=0.05
    while :; do
        good=0
        for verdict in "$folder"/verdict-*[0-9]; do
            read -r word detail 2>/dev/null <"$verdict" || continue
            [ "$word" != bad ] || fail 21 "$detail"
            good=$((good + 1))
        done
        [ "$good" = "$shown" ] || tell_progress "$good/$count"
        shown=$good
        [ "$good" -lt "$count" ] || break
        now
        [ "$uptime" -lt "$end" ] || fail 21 "the checks were not all good within $deadline s"
        refuse_units failed
        sleep "$pause"
        pause=0.2
    done
    refuse_units failed,auto-restart
}

tell_progress() { # TEXT: for those who follow; a crash may lose it
    printf '%s\n' "$1" >"$folder/progress.tmp" && mv -f "$folder/progress.tmp" "$folder/progress"
}

# Units that fail are a verdict at once; those that are started again get the time to settle.
settle_units() { # SECONDS
    sed -n 's/^warning: the following units failed: //p' "$folder/log" | tr -d ' ' | tr ',' '\n' |
        new_ones >"$folder/named"
    [ "$1" -gt 0 ] || refuse "$(get "$folder/named")"
    now
    half=$((uptime + $1 * 50)) until=$((uptime + $1 * 100)) restarts=''
    while [ "$uptime" -lt "$until" ]; do
        refuse_units failed
        [ "$uptime" -lt "$half" ] || restarts=${restarts:-$(restarts_of_named)}
        sleep 0.5
        now
    done
    refuse_units failed,auto-restart
    # Between two starts a unit is neither failed nor restarting: of those that the switch has named
    # the restarts are counted, too. It has half of the time to come to rest.
    [ "$restarts" = "$(restarts_of_named)" ] || refuse "$(get "$folder/named")"
}

restarts_of_named() {
    while read -r unit; do
        systemctl show --property=NRestarts -- "$unit"
    done <"$folder/named"
}

refuse_units() { # STATE,...: that are in this state now, and were not before
    refuse "$(units_in "$1" | new_ones)"
}

refuse() { # UNITS
    [ -z "$1" ] && return
    note failed-new "$1"
    keep_journal
    fail 21 "unit $(printf '%s' "$1" | tr '\n' ',' | sed 's/,/, /g') failed"
}

keep_journal() { # of the first failed unit, from this attempt on and before the way back adds to it
    read -r unit <"$folder/failed-new"
    # Twenty lines fit into the 4000 characters of a field.
    journalctl --unit="$unit" --since="@$(stat -c %Y "$folder/spec")" --lines=20 --no-pager \
        --output=cat 2>/dev/null | cut -c 1-190 >"$folder/journal"
}

new_ones() { # of the units on stdin, those that had not failed before
    while read -r unit; do
        case $unit in "" | flakeup-*) continue ;; esac
        grep -qxF -- "$unit" "$folder/baseline-failed" || printf '%s\n' "$unit"
    done
}

begin_checks() {
    number=0
    while IFS=$US read -r word name kind target status contains header period limit retries hold; do
        [ "$word" = check ] || continue
        number=$((number + 1))
        watch "$folder/verdict-$number" "$folder/answer-$number" &
    done <"$folder/spec"
}

watch() { # VERDICT-FILE ANSWER-FILE: one check, until it has held, or has failed too often
    failures=0 since=
    while :; do
        if detail=$(probe "$2"); then
            now
            since=${since:-$uptime}
            [ "$((uptime - since))" -lt "$((hold * 100))" ] || break
        elif [ -n "$since" ]; then
            put "$1" "bad check $name: good at first, then $detail"
            return
        else
            failures=$((failures + 1))
            if [ "$failures" -gt "$retries" ]; then
                put "$1" "bad check $name: $detail"
                return
            fi
        fi
        sleep "$period"
    done
    put "$1" good
}

probe() { # ANSWER-FILE: prints what is wrong
    case $kind in
    unit)
        active=$(systemctl is-active -- "$target") && return
        printf '%s is %s' "$target" "$active"
        ;;
    command)
        timeout --kill-after=1 "$limit" "$shell" -c "$target" </dev/null >"$1" 2>&1 && return
        ended=$?
        case $ended in
        124 | 137) printf 'the command did not end within %s s' "$limit" ;;
        *) printf 'the command ended with %s: %s' "$ended" \
            "$(tail -n 2 "$1" | head -c 300 | one_line)" ;;
        esac
        ;;
    tcp)
        address=${target%:*} address=${address#[} address=${address%]}
        # shellcheck disable=SC2016 # $0 and $1 are bash's own
        timeout "$limit" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$address" "${target##*:}" \
            2>/dev/null && return
        printf 'no connection to %s' "$target"
        ;;
    http) probe_http "$1" && return ;;
    *)
        printf 'a kind of check that this runner does not know: %s' "$kind"
        ;;
    esac
    return 1
}

probe_http() { # ANSWER-FILE
    { curl --silent --show-error --include --globoff --max-time "$limit" -- "$target" 2>"$1.error" ||
        : >"$1.failed"; } | head -c 131072 | tr -d '\r' >"$1"
    read -r _ code _ 2>/dev/null <"$1" || code=
    if [ -z "$code" ]; then
        printf '%s' "$(sed 's/^curl: ([0-9]*) //' "$1.error" | head -c 300 | one_line)"
        return 1
    fi
    if [ "$code" != "$status" ]; then
        printf 'expected status %s, got %s' "$status" "$code"
        return 1
    fi
    if [ -n "$header" ] && ! sed '/^$/q' "$1" | grep -qiF -- "$header"; then
        printf "no header has '%s'" "$header"
        return 1
    fi
    if [ -n "$contains" ] && ! sed '1,/^$/d' "$1" | grep -qF -- "$contains"; then
        printf "the body does not contain '%s': '%s'" "$contains" \
            "$(sed '1,/^$/d' "$1" | head -c 200 | one_line)"
        return 1
    fi
}

# --- follow -------------------------------------------------------------------------------

follow() { # ID OFFSET: bounded (60 s): who follows opens it again
    folder=$ETC/attempts/$1 offset=$2 seen='' turns=0 now='' stage=''
    is_of_this_boot "$1" || follow_past_boot "$1"
    while [ "$turns" -lt 240 ]; do
        read -r now <"$folder/state" || now=''
        [ "$now" != checking ] || read -r stage 2>/dev/null <"$folder/progress" || stage=''
        if [ "$now $stage" != "$seen" ]; then
            stream
            say state state "$now" stage "$stage" offset "$offset"
            seen="$now $stage"
        elif [ "$((turns % 4))" -eq 0 ]; then
            stream
        fi
        case $now in
        awaiting-confirm | committing | committed) rest 0 ;;
        rolled-back | rollback-failed | blocked | superseded) rest "$(get "$folder/exit")" ;;
        *) [ "$((turns % 8))" -ne 7 ] || is_open "$1" || died "$1" ;;
        esac
        sleep 0.25
        turns=$((turns + 1))
    done
    finish 10 progress state "$now" offset "$offset"
}

follow_past_boot() { # ID: the host has come up again; what it runs is said once it runs anything
    turns=0
    while [ -z "$(current)" ] && [ "$turns" -lt 100 ]; do
        sleep 0.2
        turns=$((turns + 1))
    done
    locked
    end_by_boot "$1"
    unlocked
    now=$(state "$1")
    rest 23
}

stream() { # what was added to the log since OFFSET, a JSON line each
    size=$(stat -c %s "$folder/log" 2>/dev/null) || size=0
    [ "$size" -gt "$offset" ] || return 0
    [ "$((size - offset))" -le "$LOG_SENT" ] || offset=$((size - LOG_SENT))
    tail -c "+$((offset + 1))" "$folder/log" | head -c "$((size - offset))" |
        tr -d '\000-\010\013-\037\177' | cut -c 1-2000 |
        sed 's/\\/\\\\/g; s/"/\\"/g; s/\t/ /g
             s/^/{"schema":1,"event":"log","text":"/; s/$/"}/'
    offset=$size
    say progress state "$now" offset "$offset"
}

died() { # ID: its units are gone and left the state behind; look again, it may have moved on
    read -r now <"$folder/state" || now=''
    case "$seen" in "$now "*) ;; *) return 0 ;; esac
    stream
    finish 50 died state "$now" current "$(current)" offset "$offset"
}

rest() { # CODE: the attempt rests; say all there is to know (I6)
    finish "${1:-20}" result \
        id "${folder##*/}" \
        state "$now" \
        reason "$(get "$folder/reason" | head -c 1000 | one_line)" \
        old "$(get "$folder/old")" \
        new "$(get "$folder/new")" \
        current "$(current)" \
        profile "$(profile)" \
        code "$(get "$folder/code")" \
        exit "${1:-20}" \
        seconds "$(get "$folder/seconds")" \
        revertCode "$(get "$folder/revert-code")" \
        units "$(one_line <"$folder/failed-new" 2>/dev/null)" \
        failedBefore "$(one_line <"$folder/baseline-failed" 2>/dev/null)" \
        journal "$(tr '\n' '|' <"$folder/journal" 2>/dev/null)" \
        offset "$offset"
}

# --- commit -------------------------------------------------------------------------------

# The caller's connection is the proof that network, sshd, keys and sudo of NEW work. The work is
# done in a unit of its own, so that losing the connection now does no harm; asked again, it
# answers the same.
commit() { # NEW
    new=$1 mode=switch
    is_store_path "$new" || finish 64 refused reason "not a store path"
    locked
    id=$(attempt_id)
    end_by_boot "$id"
    folder=$ETC/attempts/${id:-none}
    [ ! -e "$folder/spec" ] || read_spec <"$folder/spec"
    case $(state "${id:-none}") in
    awaiting-confirm | committing)
        [ "$(get "$folder/new")" = "$new" ] || refuse_commit "the attempt is for another"
        is_of_this_boot "$id" || refuse_commit "the host has been rebooted since"
        [ "$(current)" = "$new" ] || [ "$mode" = boot ] ||
            refuse_commit "the host runs another system"
        ;;
    *)
        is_settled "$new" && finish 0 unchanged outcome unchanged toplevel "$new"
        [ "$(get "$folder/new")" != "$new" ] ||
            refuse_commit "its attempt has ended: $(state "$id"): $(get "$folder/reason")"
        refuse_commit "no attempt awaits a confirmation"
        ;;
    esac
    begin_commit
    unlocked
    now
    end=$((uptime + (bound + timeout + 60) * 100)) # what calls us cannot be cancelled
    while [ "$uptime" -lt "$end" ] && ! has_ended "$(state "$id")"; do
        sleep 0.05
        now
    done
    case $(state "$id") in
    committed)
        outcome=committed
        [ "$mode" = switch ] || outcome="committed, for the next start"
        finish 0 committed outcome "$outcome" toplevel "$new" generation "$(generation)"
        ;;
    *)
        finish 24 failed reason "the commit failed: $(get "$folder/reason")" \
            state "$(state "$id")" current "$(current)"
        ;;
    esac
}

refuse_commit() { # WHY
    finish 31 refused reason "$1" current "$(current)" new "$new"
}

begin_commit() { # I2 again: the commit has a timer and an end of its own before the last one goes
    if [ "$(state "$id")" = awaiting-confirm ]; then
        arm "$id" uncommitted "$((bound + KILL_AFTER))" ||
            refuse_commit "systemd did not arm the timer of the commit"
        enter "$id" committing
        disarm "$id" unconfirmed
    fi
    systemctl is-active --quiet "flakeup-commit-$id.service" ||
        in_unit "flakeup-commit-$id" "settle $id" -p "RuntimeMaxSec=$bound" \
            -p "OnFailure=flakeup-uncommitted-$id.service" -p KillSignal=SIGKILL
}

# Boot entries are made from the profile's generations: `--set` first, then `boot`.
settle() { # ID
    locked 60
    folder=$ETC/attempts/$1
    [ "$(state "$1")" = committing ] || exit 0
    read_spec <"$folder/spec"
    old=$(get "$folder/old") new=$(get "$folder/new")
    note touched yes
    nix-env --profile "$PROFILE" --set "$new" 9>&- || fail 24 "nix-env could not set the profile"
    point_init "$new"
    "$new/bin/switch-to-configuration" boot 9>&- ||
        fail 24 "the boot loader could not be installed: $(tail -n 3 "$folder/log" | one_line)"
    [ "$(profile)" = "$new" ] || fail 24 "the profile is not what it was set to"
    root last "$old"
    enter "$1" committed
    unroot
    prune_generations
    # Last of all (I2): from here on nothing has to be brought back.
    disarm "$1" revert unconfirmed uncommitted
}

prune_generations() { # all but the newest `keep`, and the newest each of OLD and what was booted
    [ "$keep" -gt 0 ] || return 0
    booted=$(readlink -e /run/booted-system 2>/dev/null) || booted=
    for link in "$PROFILE"-[0-9]*-link; do
        number=${link#"$PROFILE"-}
        printf '%s\n' "${number%-link}"
    done | sort -rn | {
        seen=' ' count=0
        while read -r number; do
            system=$(readlink -e "$PROFILE-$number-link")
            count=$((count + 1))
            if [ "$count" -gt "$keep" ] && may_go "$system" "$seen"; then
                nix-env --profile "$PROFILE" --delete-generations "$number" 9>&-
            fi
            seen="$seen$system "
        done
    }
}

may_go() { # SYSTEM NEWER: it is neither OLD nor what was booted, or a newer generation is
    case $2 in *" $1 "*) return 0 ;; esac
    [ "$1" != "$old" ] && [ "$1" != "$booted" ]
}

# --- back: the way to OLD -----------------------------------------------------------------

# Triggers: revert (the activation failed, was killed, or its time is up), unconfirmed, uncommitted.
# Each can come at any time, and twice: what is still to do is decided by the state, under the lock.
back() { # ID TRIGGER
    folder=$ETC/attempts/$1
    is_for_state "$2" "$(state "$1")" || exit 0
    why_back "$1" "$2"
    # What still works on the attempt is ended before the lock is asked for: it may hold it.
    systemctl stop "flakeup-activate-$1.service" "flakeup-commit-$1.service" 2>/dev/null
    locked 600
    is_for_state "$2" "$(state "$1")" || exit 0
    note_first reason "$why"
    note_first exit "$verdict"
    enter "$1" rolling-back
    rollback "$1"
    disarm "$1" revert unconfirmed uncommitted
}

is_for_state() { # TRIGGER STATE
    case $1:$2 in
    *:rolling-back) ;; # a way back that was cut off goes on
    revert:prepared | revert:activating | revert:checking) ;;
    unconfirmed:awaiting-confirm | uncommitted:committing) ;;
    *) return 1 ;;
    esac
}

why_back() { # ID TRIGGER: PID 1 says how the unit before us has ended (systemd.exec(5), MONITOR_…)
    signal="${MONITOR_EXIT_CODE:-} ${MONITOR_EXIT_STATUS:-}"
    case $2 in
    unconfirmed) verdict=22 why="nobody confirmed it in time" ;;
    uncommitted)
        verdict=24 why="the commit was ended (${MONITOR_SERVICE_RESULT:-its time was up})"
        ;;
    *)
        verdict=20 why="the activation or its checks did not end in time"
        case $signal in
        "killed "* | "dumped "*) why="the activation was killed (signal ${signal#* })" verdict=23 ;;
        "exited "*) why="the activation ended with ${signal#* }" ;;
        esac
        ;;
    esac
}

rollback() { # ID: to OLD by its absolute path, never `nix-env --rollback`
    old=$(get "$folder/old")
    read_spec <"$folder/spec"
    [ -z "$old" ] || PATH="$old/sw/bin:$PATH"
    code=0
    if [ -n "$old" ] && [ "$mode" = switch ]; then
        NIXOS_NO_CHECK=1 logged activate "$old" "$timeout" test 9>&-
    fi
    note revert-code "$code"
    restore_default
    point_init "$old"
    restart_network
    ended=rollback-failed
    [ -z "$old" ] || [ "$(current)" != "$old" ] || ended=rolled-back
    [ -z "$(get "$folder/touched")" ] || [ "$(profile)" = "$(get "$folder/old-profile")" ] ||
        ended=rollback-failed
    [ "$ended" = rolled-back ] || note exit 50
    enter "$1" "$ended"
    unroot
}

# I1: what a commit has touched is put back: the generation from before, and its boot entry.
restore_default() {
    [ -n "$(get "$folder/touched")" ] || return 0
    before=$(get "$folder/old-profile") number=$(get "$folder/old-generation")
    [ -n "$before" ] || return 0
    failed=$(generation)
    if [ "$(readlink -e "$PROFILE-$number-link")" = "$before" ]; then
        nix-env --profile "$PROFILE" --switch-generation "$number" 9>&-
        [ "$failed" = "$number" ] ||
            nix-env --profile "$PROFILE" --delete-generations "$failed" 9>&-
    else
        nix-env --profile "$PROFILE" --set "$before" 9>&-
    fi
    "$before/bin/switch-to-configuration" boot 9>&-
}

# An activation leaves alone what it sees no change in: what was up before the attempt, and lets
# people in, is brought up again by name (deploy-rs#68).
restart_network() {
    while read -r unit; do
        [ -z "$unit" ] || systemctl is-active --quiet -- "$unit" || systemctl restart -- "$unit" 9>&-
    done <"$folder/baseline-network"
}

# --- abort --------------------------------------------------------------------------------

abort() { # ID WHY
    folder=$ETC/attempts/$1
    locked
    if [ "$(state "$1")" = awaiting-confirm ]; then
        note_first reason "$2"
        note_first exit 21
        systemctl start "flakeup-unconfirmed-$1.service" 9>&-
    fi
    unlocked
    case $(state "$1") in
    awaiting-confirm | rolling-back) ;;
    *)
        finish 31 refused id "$1" reason "not awaiting a confirmation" \
            state "$(state "$1")" current "$(current)"
        ;;
    esac
    offset=0 turns=0
    while :; do
        now=$(state "$1")
        has_ended "$now" && break
        [ "$turns" -lt 100 ] || finish 10 progress state "$now" offset 0
        sleep 0.25
        turns=$((turns + 1))
    done
    rest "$(get "$folder/exit")"
}

main() {
    verb=${1:-}
    [ $# -gt 0 ] && shift
    case $verb in
    /nix/store/*) commit "$verb" ;;
    observe) observe ;;
    history) history ;;
    start) [ $# -ne 3 ] || start "$@" ;;
    follow) [ $# -ne 2 ] || { is_attempt "$1" && is_number "$2" && follow "$@"; } ;;
    abort) [ $# -ne 2 ] || { is_attempt "$1" && abort "$@"; } ;;
    run) [ $# -ne 1 ] || { is_attempt "$1" && run "$1" && exit; } ;;
    settle) [ $# -ne 1 ] || { is_attempt "$1" && settle "$1" && exit; } ;;
    back) [ $# -ne 2 ] || { is_attempt "$1" && back "$@" && exit; } ;;
    esac
    finish 64 refused reason "usage: observe | start | follow | abort | history | /nix/store/…"
}

# Read whole before it runs: the file may be replaced meanwhile.
# shellcheck disable=SC2317 # reached by verbs that do not exit themselves
{
    case ${1:-} in start) main "$@" ;; *) main "$@" </dev/null ;; esac
    exit
}
