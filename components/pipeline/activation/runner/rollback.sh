
# --- rollback -----------------------------------------------------------------------------

# Triggers: revert (the activation failed, was killed or timed out), unconfirmed, uncommitted, resumed (a
# soft-reboot). Each can come at any time, and twice: the state, read under the lock, decides what is
# left to do. I7: what fails is tried again, with growing pauses, until OLD runs.
rollback_attempt() { # ID TRIGGER
    folder=$ETC/attempts/$1
    [ ! -e "$folder/state" ] || [ -n "$(state "$1")" ] || exit 1 # unreadable: PID 1 starts it again
    applies_to_state "$2" "$(state "$1")" || exit 0
    [ "$2" != resumed ] || is_soft_rebooted || exit 0
    explain_rollback "$1" "$2"
    stop_work "$1" # it may hold the lock
    read_spec <"$folder/spec"
    old=$(get "$folder/old") new=$(get "$folder/new")
    [ -z "$old" ] || PATH="$old/sw/bin:$PATH"
    export NIXOS_NO_CHECK=1 # OLD's own checks must not prevent the rollback
    while :; do
        lock 600
        applies_to_state "$2" "$(state "$1")" || exit 0
        note_first reason "$why"
        note_first exit "$verdict"
        try_rollback "$1"
        unlock
        reboot_as_last_resort
        wait_for_next_try "$1" "$2"
    done
}

stop_work() { # ID: ends what still works towards NEW; fails if it goes on
    set -- "flakeup-activate-$1.service" "flakeup-commit-$1.service"
    timeout "$RESTART_LIMIT" systemctl stop "$@" 2>/dev/null 9>&-
    case $(systemctl show --property=ActiveState --value -- "$@" 2>/dev/null | one_line) in
    "inactive  inactive" | "inactive  failed" | "failed  inactive" | "failed  failed") ;;
    *) return 1 ;;
    esac
}

# A timer may fire while the state that it belongs to is still being written.
applies_to_state() { # TRIGGER STATE
    case $1:$2 in
    *:rolling-back | *:rollback-failed) ;; # an interrupted rollback continues
    revert:prepared | revert:activating | revert:checking) ;;
    unconfirmed:checking | unconfirmed:awaiting-confirm) ;;
    uncommitted:awaiting-confirm | uncommitted:committing) ;;
    resumed:prepared | resumed:activating | resumed:checking) ;;
    resumed:awaiting-confirm | resumed:committing) ;;
    *) return 1 ;;
    esac
}

explain_rollback() { # ID TRIGGER: PID 1 passes how the failed unit ended (systemd.exec(5), MONITOR_…)
    signal="${MONITOR_EXIT_CODE:-} ${MONITOR_EXIT_STATUS:-}"
    case $2 in
    unconfirmed) verdict=22 why="not confirmed in time" ;;
    uncommitted)
        verdict=24 why="the commit was terminated (${MONITOR_SERVICE_RESULT:-it timed out})"
        ;;
    resumed) verdict=23 why="the host was soft-rebooted" ;;
    *)
        verdict=20 why="the activation or its checks did not finish in time"
        case $signal in
        "killed "* | "dumped "*) why="the activation was killed (signal ${signal#* })" verdict=23 ;;
        "exited "*) why="the activation exited with status ${signal#* }" ;;
        esac
        ;;
    esac
}

wait_for_next_try() { # ID TRIGGER; ends the unit if the attempt has ended meanwhile
    pause=$FIRST_PAUSE doubled=1
    while [ "$doubled" -lt "$tries" ] && [ "$pause" -lt "$LONGEST_PAUSE" ]; do
        pause=$((pause * 2)) doubled=$((doubled + 1))
    done
    turns=$((pause * 2))
    while [ "$turns" -gt 0 ]; do
        sleep 0.5
        applies_to_state "$2" "$(state "$1")" || exit 0
        turns=$((turns - 1))
    done
}

# The boot default is OLD, so a reboot does what its activation cannot. Not where that is not known.
reboot_as_last_resort() {
    [ "$reboot" = yes ] && [ "$tries" -ge "$TRIES_BEFORE_REBOOT" ] && [ "$(current)" != "$old" ] &&
        [ "$(profile)" = "$old" ] && [ -z "$loader_trouble" ] || return 0
    sync_disk
    systemctl reboot --no-block 9>&-
}

# One try: to OLD by its absolute path, never `nix-env --rollback`. Ends the unit unless it fails.
try_rollback() { # ID
    set_state "$1" rolling-back
    tries=$(get "$folder/tries")
    tries=$((${tries:-0} + 1))
    write_synced "$folder/tries" "$tries"
    truncate --size="<$((2 * LOG_KEPT))" "$folder/log"
    code=0 complaints='' loader_trouble='' stopped='' working=no
    leave_others_system "$1"
    printf -- '--- flakeup: rolling back, try %s\n' "$tries"
    stop_work "$1" || working=yes
    if [ -z "$old" ]; then
        restore_default
        end_rollback "$1" rollback-failed ""
        exit 0
    fi
    is_untouched || activate_old
    restore_default
    point_sbin_init "$(get "$folder/init")"
    is_untouched || restart_units
    trouble=$(describe_trouble)
    note trouble "$trouble"
    if [ -z "$trouble" ]; then
        measure_default "$1"
        exit 0
    fi
    set_state "$1" rollback-failed # I4: OLD is still needed, so its root stays
}

is_untouched() { [ "$mode" = boot ] && [ "$(current)" = "$old" ]; }

activate_old() {
    start_prerequisites
    activate "$old" "$timeout" test
    note revert-code "$code"
}

restart_units() {
    restart_network
    restart_wanted
}

# A system that is neither OLD nor NEW was activated by somebody else, who knows more than a timer.
leave_others_system() { # ID
    ! is_own_system "$1" "$(current)" || return 0
    restore_default
    end_rollback "$1" superseded "somebody else has activated $(current)${loader_trouble:+; $loader_trouble}"
    exit 0
}

end_rollback() { # ID STATE REASON
    [ -z "$3" ] || note reason "$(get "$folder/reason"): $3"
    [ "$2" != superseded ] || note exit 31
    set_state "$1" "$2"
    release_guard "$1"
    [ "$2" = rollback-failed ] || [ "$(attempt_id)" != "$1" ] || remove_gc_roots # they are the current one's
}

# OLD runs; what it boots is what it was before, or what somebody else has made it.
measure_default() { # ID
    boots=$(profile) before=$(get "$folder/old-profile")
    if [ "$boots" = "$before" ]; then
        end_rollback "$1" rolled-back ""
    else
        end_rollback "$1" superseded "it runs the previous system, and somebody else has made $boots the boot default"
    fi
}

# What an activation needs and NEW may have stopped: the system bus, logind and the network. PID 1 is
# asked over its own socket. A logind that does not answer is killed: it keeps its sessions.
start_prerequisites() {
    timeout "$START_LIMIT" systemctl start dbus.socket dbus.service 9>&-
    timeout "$ANSWER_LIMIT" loginctl list-users >&2 9>&- ||
        systemctl kill --signal=KILL systemd-logind.service
    timeout "$START_LIMIT" systemctl start systemd-logind.service 9>&-
    # shellcheck disable=SC2046 # names of units hold neither blanks nor wildcards
    set -- $(inactive_units baseline-network)
    [ $# -eq 0 ] || timeout "$START_LIMIT" systemctl start -- "$@" 9>&-
} 2>/dev/null

ask_again() { # COMMAND...: PID 1 does not answer while it is re-executed
    for pause in 0.5 1 2; do
        sleep "$pause"
        "$@" && return
    done
    return 1
}

inactive_units() { # FILE: its units that are not active now; fails if PID 1 does not answer
    # shellcheck disable=SC2046 # names of units hold neither blanks nor wildcards
    set -- $(get "$folder/$1")
    [ $# -gt 0 ] || return 0
    states=$(show_units "$@" || ask_again show_units "$@") || return 1
    printf '%s\n' "$states" |
        sed -e '/^[^ ]* active /d' -e '/^[^ ]* reloading /d' -e '/^[^ ]* refreshing /d' -e 's/ .*//'
}

# I1: what a commit changed is restored: the previous generation, and its boot entry.
restore_default() {
    [ -e "$folder/touched" ] || return 0
    before=$(get "$folder/old-profile") number=$(get "$folder/old-generation")
    [ "$(profile)" = "$before" ] || is_own_default || return 0 # somebody else's
    if [ -z "$before" ]; then # there was none
        rm -f "$PROFILE"
        return
    fi
    failed=$(generation)
    if [ "$(readlink -e "$PROFILE-$number-link")" = "$before" ]; then
        timeout "$bound" nix-env --profile "$PROFILE" --switch-generation "$number" 9>&-
        [ "$failed" = "$number" ] ||
            timeout "$bound" nix-env --profile "$PROFILE" --delete-generations "$failed" 9>&-
    else
        timeout "$bound" nix-env --profile "$PROFILE" --set "$before" 9>&-
    fi
    activated=$code said=$complaints
    activate "$before" "$timeout" boot # `commit` may be what was too short
    [ "$code" = 0 ] || loader_trouble="the boot loader could not be restored (status $code)"
    code=$activated complaints=$said
}

# An activation does not start units that did not change, so network units that were active before
# the attempt are restarted by name (deploy-rs#68).
restart_network() {
    for unit in $(inactive_units baseline-network); do
        timeout --kill-after="$KILL_AFTER" "$RESTART_LIMIT" systemctl restart -- "$unit" 9>&-
    done
}

# An activation that ended in the middle has not started what it had stopped. A unit that then ends well
# by itself is left, and so is a socket whose service runs. Sets `stopped` to what does not run.
restart_wanted() {
    if ! inactive=$(inactive_units baseline-active); then
        stopped='systemd does not answer'
        return
    fi
    [ -n "$inactive" ] || return 0
    # shellcheck disable=SC2086 # names of units hold neither blanks nor wildcards
    timeout --kill-after="$KILL_AFTER" "$RESTART_LIMIT" systemctl start -- $inactive 9>&- ||
        stopped=$(inactive_units baseline-active | while read -r unit; do
            case $unit in *.socket) ! systemctl is-active --quiet -- "${unit%.socket}.service" || continue ;; esac
            printf '%s ' "$unit"
        done)
    sleep 0.2 # time to fail
    failed=$(failed_units "failed,$BETWEEN_RUNS") ||
        failed=$(ask_again failed_units "failed,$BETWEEN_RUNS") || stopped='systemd does not answer'
    stopped="$stopped$(printf '%s\n' "$failed" | grep -xF -f "$folder/baseline-active" | one_line)"
}

describe_trouble() { # what differs from before the attempt; nothing if OLD is what it was
    if [ "$(current)" != "$old" ]; then
        printf 'it runs %s' "$(current)"
    elif [ -e "$folder/touched" ] && is_unrestored; then
        printf 'its profile still is %s' "$(profile)"
    elif [ "$working" = yes ]; then
        printf 'what activates the new system does not end'
    elif [ -n "$loader_trouble" ]; then
        printf '%s' "$loader_trouble"
    elif script=$(failed_script); then
        printf 'its activation script failed: %s' "$script"
    elif [ "$code" != 0 ] && [ "$code" != 4 ]; then
        printf 'its activation exited with status %s' "$code"
    elif [ -n "$stopped" ]; then
        printf 'not active any more: %s' "$(printf '%s' "$stopped" | head -c 500)"
    fi
}
