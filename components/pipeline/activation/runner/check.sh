# --- check: is the host healthy? ----------------------------------------------------------

check() { # ID: wait for units, then run the spec's checks in parallel, all within `deadline`
    read_uptime
    end=$((uptime + deadline * 100))
    note_may_fail || fail 20 "no space left for the attempt's files in $ETC"
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
        fail_on_units failed || true
        sleep "$pause"
        pause=0.2
    done
    until_answered fail_on_units "failed,$BETWEEN_RUNS"
}

write_progress() { # TEXT: for followers; not synced
    printf '%s\n' "$1" >"$folder/progress.tmp" && mv -f "$folder/progress.tmp" "$folder/progress"
}

# A failed unit is a failure at once; units that restart get half of the time to settle.
wait_for_units() { # SECONDS
    if [ "$1" = 0 ]; then
        until_answered fail_on_named_units
        until_answered fail_on_units "failed,$BETWEEN_RUNS"
        return
    fi
    read_uptime
    half=$((uptime + $1 * 50))
    rm -f "$folder/restarted"
    while [ "$uptime" -lt "$((half + $1 * 50))" ]; do
        require_time
        fail_on_units failed || true
        [ "$uptime" -lt "$half" ] || [ -e "$folder/restarted" ] || count_restarts
        sleep 0.5
        read_uptime
    done
    until_answered fail_on_units "failed,$BETWEEN_RUNS"
    until_answered fail_on_restarts
}

count_restarts() { # at half of the time, which is later if PID 1 does not answer
    if restarts=$(restarted_services); then
        note restarted "$restarts"
    else
        half=$((uptime + 50))
    fi
}

# A unit that cannot be asked about is not healthy.
until_answered() { # COMMAND...
    until "$@"; do
        require_time
        sleep 0.5
        read_uptime
    done
}

require_time() {
    [ "$uptime" -lt "$end" ] || fail 21 "systemd did not say within $deadline s which units failed"
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

