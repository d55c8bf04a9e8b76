# --- run: the attempt, in its own unit ----------------------------------------------------

run() { # ID
    folder=$ETC/attempts/$1
    old=$(get "$folder/old") new=$(get "$folder/new")
    read_spec <"$folder/spec"
    advance "$1" prepared activating || exit 0
    read_uptime
    began=$uptime
    [ "$mode" = boot ] || activate_new "$1"
    advance "$1" activating checking || exit 0
    point_sbin_init "$old"
    [ "$mode" = boot ] || check "$1"
    read_uptime
    note seconds "$(((uptime - began) / 100))"
    await_confirmation "$1"
}

activate_new() { # ID
    code=0
    [ "$(current)" = "$new" ] && [ "$(get "$folder/again")" = no ] && return
    run_logged activate "$new" "$timeout" test
    note code "$code"
    check_exit_code "$1" "$code"
}

# I5: a long log keeps only its beginning and its end. `stdbuf`, so that it can be followed. Processes
# that outlive the activation and keep the pipe open are not waited for.
run_logged() { # COMMAND...: sets `code` to its exit status if it fails
    pipe=$folder/pipe
    rm -f "$pipe"
    mkfifo "$pipe" || pipe=/dev/null # a full disk must not prevent a rollback
    { stdbuf -o0 head -c "$LOG_KEPT"; tail -c "$LOG_KEPT"; cat >/dev/null; } <"$pipe" 9>&- &
    keeper=$!
    "$@" >"$pipe" 2>&1 9>&- || code=$?
    rm -f "$folder/pipe"
    tries=0
    while kill -0 "$keeper" 2>/dev/null && [ "$tries" -lt 50 ]; do
        sleep 0.02
        tries=$((tries + 1))
    done
}

# shellcheck disable=SC2329 # called by `run_logged`
activate() { # SYSTEM LIMIT ACTION: retried while another switch holds NixOS's own lock
    tries=0
    while :; do
        timeout --kill-after="$KILL_AFTER" "$2" "$1/bin/switch-to-configuration" "$3"
        result=$?
        [ "$result" = 11 ] && [ "$tries" -lt 5 ] || return "$result"
        tries=$((tries + 1))
        sleep 5
    done
}

# Exit codes of `switch-to-configuration test`: 4 means that some unit failed; the checks decide
# whether this system is the cause.
check_exit_code() { # ID CODE
    why=
    case $2 in
    0 | 4) return ;;
    100) why="the init interface changed: this release needs a reboot" ;;
    11) ! grep -q '^Could not acquire lock' "$folder/log" ||
        why="another switch-to-configuration held its lock" ;;
    1) ! grep -q '^Pre-switch checks failed' "$folder/log" ||
        why="its pre-switch checks failed: $(tail -n 5 "$folder/log" | one_line)" ;;
    esac
    if [ -n "$why" ]; then # nothing was changed
        block "$1" "$why"
        exit 0
    fi
    case $2 in
    124 | 137) fail 20 "the activation did not finish within $timeout s" ;;
    *) fail 20 "the activation exited with status $2" ;;
    esac
}

fail() { # CODE REASON: the unit fails, so PID 1 starts the rollback
    note_first reason "$2"
    note exit "$1"
    exit 1
}

await_confirmation() { # ID
    # I2: the next phase's timer starts before this phase ends.
    arm "$1" unconfirmed "$confirm" || fail 20 "systemd did not start the confirmation timer"
    advance "$1" checking awaiting-confirm || disarm "$1" unconfirmed
}

# I1: in containers every activation of NixOS points /sbin/init at its system; until the commit it has
# to be OLD's.
point_sbin_init() { # SYSTEM
    case $(readlink /sbin/init 2>/dev/null) in
    /nix/store/*-nixos-system-*/init) ;;
    *) return 0 ;;
    esac
    [ -z "$1" ] || { ln -sfn "$1/init" /sbin/init.tmp && mv -fT /sbin/init.tmp /sbin/init; }
}

