# --- failed units ---------------------------------------------------------------------------
#
# What PID 1 does not answer is no verdict: these functions fail then, and the caller asks again.

BETWEEN_RUNS=auto-restart,auto-restart-queued # a service that systemd will start again

# Lines "UNIT LOAD ACTIVE SUB …", without the attempt's own units.
list_units() { # OPTION...
    listed=$(systemctl list-units --all --plain --no-legend --full "$@" 2>/dev/null) || return
    printf '%s\n' "$listed" | sed "/^flakeup-[a-z]*-${folder##*/}\./d"
}

failed_units() { # STATE,...
    listed=$(list_units --state="$1") || return
    [ -z "$listed" ] || printf '%s\n' "$listed" | pick_failed /dev/null
}

# As NixOS's own program sees it (nixpkgs, switch-to-configuration-ng): a unit that is `failed`, or a
# service between two runs whose last one failed; after a success it pauses by design. That program
# takes ExecMainStatus for the end of a run. `Result` says more: an ExecStartPre= that failed leaves
# ExecMainStatus 0, and a status in SuccessExitStatus= is not 0.
pick_failed() { # EXCUSED-FILE: filters lines of `list_units`; units in the file may be between runs
    between=
    while read -r unit _ active sub _; do
        case $active:$sub in
        failed:*) printf '%s\n' "$unit" ;;
        *:auto-restart*) between="$between $unit" ;;
        esac
    done
    [ -n "$between" ] || return 0
    # shellcheck disable=SC2086 # names of units hold neither blanks nor wildcards
    results=$(show_units $between) || return
    printf '%s\n' "$results" | sed -n '/ success$/!s/ .*//p' | drop_listed "$1"
}

show_units() { # UNIT...: "UNIT ACTIVE SUB RESULT" a line
    shown=$(systemctl show --property=Id,ActiveState,SubState,Result -- "$@" 2>/dev/null) || return
    unit='' active='' sub='' result=''
    printf '%s\n\n' "$shown" | while IFS='=' read -r key value; do
        case $key in
        Id) unit=$value ;;
        ActiveState) active=$value ;;
        SubState) sub=$value ;;
        Result) result=$value ;;
        '') printf '%s %s %s %s\n' "$unit" "$active" "$sub" "$result" && result='' ;;
        esac
    done
}

fail_on_units() { # STATE,...: units that failed, that had not failed before and may not fail
    listed=$(list_units --state="$1") || return
    failed=$(printf '%s\n' "$listed" | pick_failed "$folder/baseline-restarting") || return
    fail_if_any "$(printf '%s\n' "$failed" | drop_excused)"
}

drop_excused() { # filters the units on stdin
    drop_listed "$folder/baseline-failed" | grep -vx -e '' -f "$folder/may-fail" || true
}

# As anchored expressions for `grep`; `*` stands for any text.
note_may_fail() { # `may_fail` as in the spec
    note may-fail "$(printf '%s\n' "$may_fail" | tr ' ' '\n' | sed 's/[.\\]/\\&/g; s/\*/.*/g')"
}

# By the activation, at its own end. It judges by ExecMainStatus alone, so that it also names services
# that pause after a status in SuccessExitStatus=.
# shellcheck disable=SC2329 # called by `until_answered`
fail_on_named_units() {
    named=$(sed -n 's/^.*warning: the following units failed: //p' "$folder/log" | tr -d ' ' |
        tr ',' '\n' | drop_excused)
    [ -n "$named" ] || return 0
    # shellcheck disable=SC2086 # names of units hold neither blanks nor wildcards
    results=$(show_units $named) || return
    fail_if_any "$(
        printf '%s\n' "$results" | sed -n 's/ failed .*//p'
        printf '%s\n' "$results" | sed '/ failed /d; / auto-restart[a-z-]* success$/d; s/ .*//' |
            drop_listed "$folder/baseline-restarting"
    )"
}

# --- restarts -------------------------------------------------------------------------------

# Makes PID 1 print every service, so not used on hosts with `settle: 0s`. Prints "UNIT COUNT" for each
# service that systemd has restarted COUNT times or more, last at SINCE or later.
restarted_services() { # [COUNT SINCE]
    wanted=Id,NRestarts,InactiveExitTimestamp unit='' count=0 began=0
    shown=$(systemctl show --timestamp=unix --property="$wanted" -- '*.service' 2>/dev/null) || return
    printf '%s\n\n' "$shown" |
        while IFS='=' read -r key value; do
            case $key in
            Id) unit=$value ;;
            NRestarts) count=$value ;;
            InactiveExitTimestamp) began=${value#@} ;;
            '')
                [ "$count" -lt "${1:-1}" ] || [ "${began:-0}" -lt "${2:-0}" ] ||
                    printf '%s %s\n' "$unit" "$count"
                ;;
            esac
        done
}

# Names, not counts: a switch resets the counts (`systemctl reset-failed`). At least twice and recently:
# a service that restarted once, or long ago, was stable.
note_restarting() { # adds them to those between two runs; fails if PID 1 does not answer
    restarts=$(restarted_services 2 $(($(stat -c %Y "$folder/spec") - RESTARTED_WITHIN))) || return
    note baseline-restarting "$(
        cat "$folder/baseline-restarting"
        printf '%s\n' "$restarts" | while read -r unit _; do
            [ -z "$unit" ] || ended_well "$unit" 2 || printf '%s\n' "$unit"
        done
    )"
}

# Between two starts a unit is neither failed nor restarting, so restarts are counted: since half of
# `settle`, as a unit may still restart in the first half. One that systemd starts again after a
# success does so by design.
# shellcheck disable=SC2329 # called by `until_answered`
fail_on_restarts() {
    restarts=$(restarted_services) || return
    fail_if_any "$(printf '%s\n' "$restarts" | drop_listed "$folder/restarted" |
        while read -r unit count; do
            [ -n "$unit" ] || continue
            before=$(sed -n "s/^$(printf '%s' "$unit" | sed 's/[.\\]/\\&/g') //p" "$folder/restarted")
            runs=$((count - ${before:-0}))
            [ "$runs" -gt 0 ] || runs=$count # somebody has started it by hand
            ended_well "$unit" "$runs" || printf '%s\n' "$unit"
        done | drop_excused | drop_listed "$folder/baseline-restarting")"
}

# Whether its last runs all succeeded. PID 1 forgets `Result` when the service starts again, but has
# logged it; without a journal a restart counts as a failure. The ids are those of systemd's messages
# on the end of a run (sd-messages.h: SD_MESSAGE_UNIT_SUCCESS, SD_MESSAGE_UNIT_FAILURE_RESULT).
ended_well() { # UNIT RUNS
    ends=$(timeout 10 journalctl --quiet --no-pager --output=export --output-fields=MESSAGE_ID --lines="$2" \
        _PID=1 "UNIT=$1" "MESSAGE_ID=$UNIT_SUCCESS" "MESSAGE_ID=$UNIT_FAILURE" 2>/dev/null |
        grep '^MESSAGE_ID=')
    case $ends in
    "" | *"$UNIT_FAILURE"*) return 1 ;;
    esac
}
UNIT_SUCCESS=7ad2d189f7e94e70a38c781354912448
UNIT_FAILURE=d9b373ed55a64feb8242e02dbe79a49c

