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
    note new-init "$(new_init)"
    point_sbin_init "$(get "$folder/init")"
    [ "$mode" = boot ] || check "$1"
    read_uptime
    note seconds "$(((uptime - began) / 100))"
    await_confirmation "$1"
}

activate_new() { # ID
    [ "$(current)" = "$new" ] && [ "$(get "$folder/again")" = no ] && return
    before=$(current) refusals=0 waited=0
    read_uptime
    start=$uptime
    while :; do
        activate "$new" "$((timeout - waited))" test
        read_uptime
        waited=$(((uptime - start) / 100))
        is_lock_refusal && [ "$refusals" -lt 5 ] && [ "$((waited + 5))" -lt "$timeout" ] || break
        refusals=$((refusals + 1))
        sleep 5
        waited=$((waited + 5))
        [ "$(state "$1")" = activating ] || exit 0 # its rollback has begun
        [ "$(current)" = "$before" ] || fail 31 "somebody else has activated $(current)"
    done
    note code "$code"
    note warnings "$(list_warnings)"
    check_exit_code "$1" "$code" "$waited"
}

# Activates a system; sets `code` to its exit status, and `complaints` to what it says went wrong.
activate() { # SYSTEM LIMIT ACTION
    code=0
    run_logged run_switch "$@"
    complaints=$(sed -n -e '/^--- flakeup: /{ s/.*//; h; }' \
        -e "/^Failed to \|^warning: \|^Could not \|$SCRIPT_FAILED\|$SNIPPET_FAILED/H" \
        -e '${ x; p; }' "$folder/log" | head -c "$LOG_SENT")
}

# shellcheck disable=SC2329 # called by `run_logged`
run_switch() { # SYSTEM LIMIT ACTION
    printf -- '--- flakeup: %s, %s\n' "$3" "$1"
    timeout --kill-after="$KILL_AFTER" "$2" "$1/bin/switch-to-configuration" "$3"
}

first_complaint() { # PATTERN: a pattern of the shell
    while IFS= read -r text; do
        # shellcheck disable=SC2254 # a pattern is meant
        case $text in $1) printf '%s' "$text" && return ;; esac
    done <<END
$complaints
END
    return 1
}

# 11 is the errno (EAGAIN) of whatever failed last: of NixOS's lock only with this line.
is_lock_refusal() { [ "$code" = 11 ] && first_complaint 'Could not acquire lock*' >/dev/null; }

# A unit that failed overwrites the status of a failed activation script (2) with 4, so what was said
# counts: the program's own line, or that of NixOS's script.
failed_script() {
    first_complaint "*Activation script snippet '*' failed*" ||
        first_complaint '*Failed to run activate script*'
}
# Anywhere in a line: what a script has said last may lack its end.
SCRIPT_FAILED='Failed to run activate script$'
SNIPPET_FAILED="Activation script snippet '.*' failed"

# What the activation could not do, in its own words; the checks judge failed units.
list_warnings() {
    [ "$output" = yes ] || return 0
    printf '%s\n' "$complaints" | sed -e '/^$/d' -e '/^Could not /d' \
        -e '/^warning: the following units failed/d' -e 's/\(.\{200\}\).*/\1/' |
        head -n "$WARNINGS_SENT" | sed -e ':a' -e 'N' -e '$!ba' -e 's/\n/ | /g'
}

# I5: a long log keeps only its beginning and its end. `stdbuf`, so that it can be followed. Processes
# that outlive the activation and keep the pipe open are not waited for. A full disk must not prevent a
# rollback, so what the log lost is noted in `lost`, on another file system.
run_logged() { # COMMAND...: sets `code` to its exit status if it fails
    pipe=$folder/pipe lost=$RUN/lost-${folder##*/}
    rm -f "$pipe" "$lost"
    mkfifo "$pipe" || { pipe=/dev/null && printf '' >"$lost"; }
    {
        stdbuf -o0 head -c "$LOG_KEPT" || printf '' >"$lost"
        tail -c "$LOG_KEPT" || printf '' >"$lost"
        cat >/dev/null
    } <"$pipe" 9>&- &
    keeper=$!
    "$@" >"$pipe" 2>&1 9>&- || code=$?
    rm -f "$folder/pipe"
    polls=0
    while kill -0 "$keeper" 2>/dev/null && [ "$polls" -lt 50 ]; do
        sleep 0.02
        polls=$((polls + 1))
    done
}

# Exit codes of `switch-to-configuration test`: 4 means that some unit failed; the checks decide
# whether this system is the cause.
check_exit_code() { # ID CODE SECONDS
    why=
    case $2 in
    0 | 4)
        ! script=$(failed_script) || fail 20 "the activation script failed: $script"
        [ "$2" = 0 ] || [ ! -e "$lost" ] ||
            fail 20 "units failed, and no space was left for what the activation printed"
        return
        ;;
    100) why="the init interface changed: this release needs a reboot" ;;
    11) ! is_lock_refusal || why="another switch-to-configuration held its lock" ;;
    1) ! grep -q 'Pre-switch checks failed$' "$folder/log" || why=$(describe_preswitch_checks) ;;
    esac
    # Nothing was changed, if that is so; where a rollback had failed before, it goes on.
    if [ -n "$why" ] && [ "$(get "$folder/again")" = no ] && [ "$(current)" = "$before" ]; then
        block "$1" "$why"
        exit 0
    fi
    case $2 in
    124) fail 20 "the activation did not finish within $timeout s" ;;
    137)
        [ "$3" -lt "$timeout" ] || fail 20 "the activation did not finish within $timeout s"
        fail 23 "the activation was killed (signal 9)"
        ;;
    *) fail 20 "${why:-the activation exited with status $2}" ;;
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

# I1: in containers every activation of NixOS points /sbin/init into its system (`init`, or
# `prepare-root` with a systemd initrd); until the commit it has to be what it was.
sbin_init() { # what it points to, if that is in the store
    case $(readlink /sbin/init 2>/dev/null) in
    /nix/store/*) readlink /sbin/init ;;
    esac
}

new_init() { # what it has to be after the commit: what NEW's activation has made it
    if [ "$mode" = boot ] && [ -n "$(sbin_init)" ]; then printf '%s/init' "$new"; else sbin_init; fi
}

point_sbin_init() { # TARGET
    [ -n "$1" ] && [ "$(sbin_init)" != "$1" ] || return 0
    ln -sfn "$1" /sbin/init.tmp && mv -fT /sbin/init.tmp /sbin/init
}

