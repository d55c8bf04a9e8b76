# --- rollback -----------------------------------------------------------------------------

# Triggers: revert (the activation failed, was killed or timed out), unconfirmed, uncommitted. Each can
# come at any time, and twice: the state, read under the lock, decides what is left to do.
rollback_attempt() { # ID TRIGGER
    folder=$ETC/attempts/$1
    applies_to_state "$2" "$(state "$1")" || exit 0
    explain_rollback "$1" "$2"
    # Units that still work on the attempt may hold the lock, so they are stopped first.
    systemctl stop "flakeup-activate-$1.service" "flakeup-commit-$1.service" 2>/dev/null
    lock 600
    applies_to_state "$2" "$(state "$1")" || exit 0
    note_first reason "$why"
    note_first exit "$verdict"
    set_state "$1" rolling-back
    restore_old "$1"
    disarm "$1" revert unconfirmed uncommitted
}

applies_to_state() { # TRIGGER STATE
    case $1:$2 in
    *:rolling-back) ;; # an interrupted rollback continues
    revert:prepared | revert:activating | revert:checking) ;;
    unconfirmed:awaiting-confirm | uncommitted:committing) ;;
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
    *)
        verdict=20 why="the activation or its checks did not finish in time"
        case $signal in
        "killed "* | "dumped "*) why="the activation was killed (signal ${signal#* })" verdict=23 ;;
        "exited "*) why="the activation exited with status ${signal#* }" ;;
        esac
        ;;
    esac
}

restore_old() { # ID: to OLD by its absolute path, never `nix-env --rollback`
    old=$(get "$folder/old")
    read_spec <"$folder/spec"
    [ -z "$old" ] || PATH="$old/sw/bin:$PATH"
    code=0 trouble=
    export NIXOS_NO_CHECK=1 # OLD's own checks must not prevent the rollback
    if [ -n "$old" ] && [ "$mode" = switch ]; then
        run_logged activate "$old" "$timeout" test
    fi
    note revert-code "$code"
    restore_default
    point_sbin_init "$old"
    restart_network
    ended=rollback-failed
    [ -z "$old" ] || [ "$(current)" != "$old" ] || ended=rolled-back
    [ ! -e "$folder/touched" ] || [ "$(profile)" = "$(get "$folder/old-profile")" ] ||
        ended=rollback-failed
    [ -z "$trouble" ] || ended=rollback-failed
    note trouble "$trouble"
    [ "$ended" = rolled-back ] || note exit 50
    set_state "$1" "$ended"
    [ "$ended" != rolled-back ] || remove_gc_roots # I4: after a failed rollback OLD is still needed
}

# I1: what a commit changed is restored: the previous generation, and its boot entry.
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
    run_logged activate "$before" "$bound" boot
    [ "$code" = 0 ] || trouble="the boot loader could not be restored (status $code)"
}

# An activation does not start units that did not change, so network units that were active before
# the attempt are restarted by name (deploy-rs#68).
restart_network() {
    while read -r unit; do
        [ -z "$unit" ] || systemctl is-active --quiet -- "$unit" ||
            timeout --kill-after="$KILL_AFTER" "$RESTART_LIMIT" systemctl restart -- "$unit" 9>&-
    done <"$folder/baseline-network"
}

