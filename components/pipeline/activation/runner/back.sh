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
    code=0 trouble=
    export NIXOS_NO_CHECK=1 # OLD is not asked whether it may come back
    if [ -n "$old" ] && [ "$mode" = switch ]; then
        logged activate "$old" "$timeout" test
    fi
    note revert-code "$code"
    restore_default
    point_init "$old"
    restart_network
    ended=rollback-failed
    [ -z "$old" ] || [ "$(current)" != "$old" ] || ended=rolled-back
    [ ! -e "$folder/touched" ] || [ "$(profile)" = "$(get "$folder/old-profile")" ] ||
        ended=rollback-failed
    [ -z "$trouble" ] || ended=rollback-failed
    note trouble "$trouble"
    [ "$ended" = rolled-back ] || note exit 50
    enter "$1" "$ended"
    [ "$ended" != rolled-back ] || unroot # I4: an OLD that is still to be brought back stays
}

# I1: what a commit has touched is put back: the generation from before, and its boot entry.
restore_default() {
    [ -e "$folder/touched" ] || return 0
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
    code=0
    logged activate "$before" "$bound" boot
    [ "$code" = 0 ] || trouble="the boot loader could not be put back (status $code)"
}

# An activation leaves alone what it sees no change in: what was up before the attempt, and lets
# people in, is brought up again by name (deploy-rs#68).
restart_network() {
    while read -r unit; do
        [ -z "$unit" ] || systemctl is-active --quiet -- "$unit" ||
            timeout --kill-after="$KILL_AFTER" "$RESTART_LIMIT" systemctl restart -- "$unit" 9>&-
    done <"$folder/baseline-network"
}

