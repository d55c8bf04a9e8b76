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
    11) ! grep -q '^Could not acquire lock' "$folder/log" ||
        why="another switch-to-configuration held its lock" ;;
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
    # I2: the timer of the next phase before the last phase is over.
    arm "$1" unconfirmed "$confirm" || fail 20 "systemd did not arm the timer of the confirmation"
    advance "$1" checking awaiting-confirm || disarm "$1" unconfirmed
}

# I1: in containers NixOS re-points /sbin/init at every activation; until commit it is OLD's.
point_init() { # SYSTEM
    case $(readlink /sbin/init 2>/dev/null) in
    /nix/store/*-nixos-system-*/init) ;;
    *) return 0 ;;
    esac
    [ -z "$1" ] || { ln -sfn "$1/init" /sbin/init.tmp && mv -fT /sbin/init.tmp /sbin/init; }
}

