# --- check: is the host healthy? ----------------------------------------------------------

check() { # ID: wait for units, then run the spec's checks in parallel, all within `deadline`
    read_uptime
    end=$((uptime + deadline * 100))
    wait_for_units "$settle"
    count=0
    while IFS=$US read -r word _; do
        [ "$word" != check ] || count=$((count + 1))
    done <"$folder/spec"
    [ "$count" -gt 0 ] || return 0
    start_checks
    shown='' pause=0.05
    while :; do
        good=0
        for verdict in "$folder"/checks/*.verdict; do
            read -r word detail 2>/dev/null <"$verdict" || continue
            [ "$word" != bad ] || fail 21 "$detail"
            good=$((good + 1))
        done
        [ "$good" = "$shown" ] || write_progress "$good/$count"
        shown=$good
        [ "$good" -lt "$count" ] || break
        read_uptime
        [ "$uptime" -lt "$end" ] || fail 21 "the checks were not all good within $deadline s"
        fail_on_units failed
        sleep "$pause"
        pause=0.2
    done
    fail_on_units failed,auto-restart
}

write_progress() { # TEXT: for followers; not synced
    printf '%s\n' "$1" >"$folder/progress.tmp" && mv -f "$folder/progress.tmp" "$folder/progress"
}

# A failed unit is a failure at once; units that restart get time to settle.
wait_for_units() { # SECONDS
    sed -n 's/^warning: the following units failed: //p' "$folder/log" | tr -d ' ' | tr ',' '\n' |
        drop_failed_before >"$folder/named"
    if [ "$1" = 0 ]; then
        fail_if_any "$(get "$folder/named")"
        fail_on_units failed,auto-restart
        return
    fi
    read_uptime
    half=$((uptime + $1 * 50)) until=$((uptime + $1 * 100))
    rm -f "$folder/restarting"
    while [ "$uptime" -lt "$until" ]; do
        fail_on_units failed
        [ "$uptime" -lt "$half" ] || [ -e "$folder/restarting" ] ||
            restarting_services >"$folder/restarting"
        sleep 0.5
        read_uptime
    done
    fail_on_units failed,auto-restart
    # Between two starts a unit is neither failed nor restarting, so restarts are counted. A unit may
    # still restart in the first half of the time.
    fail_if_any "$(restarting_services | grep -vxF -f "$folder/restarting" | cut -d' ' -f1 |
        drop_failed_before | drop_restarting_before)"
}

# Makes PID 1 print every service, so not used on hosts with `settle: 0s`. Prints "UNIT COUNT" for each
# service that systemd has restarted COUNT times or more, last at SINCE or later.
restarting_services() { # [COUNT SINCE]
    wanted=Id,NRestarts,InactiveExitTimestamp unit='' count=0 began=0
    { systemctl show --timestamp=unix --property="$wanted" -- '*.service' && echo; } |
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
note_restarting() {
    note baseline-restarting \
        "$(restarting_services 2 $(($(stat -c %Y "$folder/spec") - RESTARTED_WITHIN)) | cut -d' ' -f1)"
}

# A service that kept restarting before may go on; that systemd gives up on it is new.
drop_restarting_before() { # filters the units on stdin
    while read -r unit; do
        grep -qxF -- "$unit" "$folder/baseline-restarting" &&
            [ "$(systemctl is-failed -- "$unit")" != failed ] || printf '%s\n' "$unit"
    done
}

fail_on_units() { # STATE,...: units in these states that were not in them before
    fail_if_any "$(units_in "$1" | drop_failed_before | drop_restarting_before)"
}

fail_if_any() { # UNITS
    [ -z "$1" ] && return
    note failed-new "$1"
    save_journal
    fail 21 "unit $(printf '%s' "$1" | tr '\n' ',' | sed 's/,/, /g') failed"
}

save_journal() { # of the first failed unit since the attempt's start, before the rollback adds to it
    [ "$output" = yes ] || return 0
    read -r unit <"$folder/failed-new"
    # Twenty lines fit into the 4000 characters of a field.
    journalctl --unit="$unit" --since="@$(stat -c %Y "$folder/spec")" --lines=20 --no-pager \
        --output=cat 2>/dev/null | cut -c 1-190 >"$folder/journal"
}

drop_failed_before() { # filters the units on stdin
    while read -r unit; do
        case $unit in "" | flakeup-*) continue ;; esac
        grep -qxF -- "$unit" "$folder/baseline-failed" || printf '%s\n' "$unit"
    done
}

