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
    if [ "$1" = 0 ]; then
        refuse "$(get "$folder/named")"
        refuse_units failed,auto-restart
        return
    fi
    now
    half=$((uptime + $1 * 50)) until=$((uptime + $1 * 100))
    rm -f "$folder/restless"
    while [ "$uptime" -lt "$until" ]; do
        refuse_units failed
        [ "$uptime" -lt "$half" ] || [ -e "$folder/restless" ] || restless >"$folder/restless"
        sleep 0.5
        now
    done
    refuse_units failed,auto-restart
    # Between two starts a unit is neither failed nor restarting, so restarts are counted. It has half
    # of the time to come to rest.
    refuse "$(restless | grep -vxF -f "$folder/restless" | cut -d' ' -f1 |
        new_ones | not_restless_before)"
}

# PID 1 says all that it knows of each service for it: not for a host without time to settle.
restless() { # [COUNT SINCE]: "UNIT COUNT" of each service that systemd has started again by itself
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

# Names and not counts: a switch begins them anew (`systemctl reset-failed`). Twice, and just now: what
# was started again once, or long ago, was at rest.
note_restless() {
    note baseline-restless \
        "$(restless 2 $(($(stat -c %Y "$folder/spec") - RESTLESS_FOR)) | cut -d' ' -f1)"
}

# Who was started over and over before goes on so. That systemd has given it up is new.
not_restless_before() { # of the units on stdin
    while read -r unit; do
        grep -qxF -- "$unit" "$folder/baseline-restless" &&
            [ "$(systemctl is-failed -- "$unit")" != failed ] || printf '%s\n' "$unit"
    done
}

refuse_units() { # STATE,...: that are in this state now, and were not before
    refuse "$(units_in "$1" | new_ones | not_restless_before)"
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
        # With the tools of the new system, as a person has them.
        PATH="/run/current-system/sw/bin:$PATH" \
            timeout --kill-after=1 "$limit" /bin/sh -c "$target" </dev/null >"$1" 2>&1 && return
        ended=$?
        told=$(tail -n 2 "$1" | head -c 300 | one_line)
        case $ended in
        124) printf 'the command did not end within %s s' "$limit" ;;
        137) printf 'the command was killed, or did not end within %s s' "$limit" ;;
        *) printf 'the command ended with %s%s' "$ended" "${told:+: $told}" ;;
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
    {
        curl --silent --show-error --include --globoff --max-time "$limit" -- "$target" 2>"$1.error"
        put "$1.ended" "$?"
    } | head -c 131072 | tr -d '\r' >"$1"
    read -r _ code _ 2>/dev/null <"$1" || code=
    case $code:$(get "$1.ended") in
    [1-9]*:0 | [1-9]*:23) ;; # 23: we have closed a long answer
    *)
        printf '%s' "$(sed 's/^curl: ([0-9]*) //' "$1.error" | head -c 300 | one_line)"
        return 1
        ;;
    esac
    if [ "$code" != "$status" ]; then
        printf 'expected status %s, got %s' "$status" "$code"
        return 1
    fi
    if [ -n "$header" ] && ! sed '1d; /^$/q' "$1" | grep -qiF -- "$header"; then
        printf "no header has '%s'" "$header"
        return 1
    fi
    if [ -n "$contains" ] && ! sed '1,/^$/d' "$1" | grep -qF -- "$contains"; then
        printf "the body does not contain '%s': '%s'" "$contains" \
            "$(sed '1,/^$/d' "$1" | head -c 200 | one_line)"
        return 1
    fi
}

