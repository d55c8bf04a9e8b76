# --- follow -------------------------------------------------------------------------------

follow() { # ID OFFSET: for 60 s at most; the caller calls again
    folder=$ETC/attempts/$1 offset=$2 seen='' turns=0 now='' stage=''
    is_this_boot "$1" || follow_after_reboot "$1"
    while [ "$turns" -lt 600 ]; do
        read -r now <"$folder/state" || now=''
        [ "$now" != checking ] || read -r stage 2>/dev/null <"$folder/progress" || stage=''
        if [ "$now $stage" != "$seen" ]; then
            emit_log
            emit state state "$now" stage "$stage" offset "$offset"
            seen="$now $stage"
        elif [ "$((turns % 10))" -eq 0 ]; then
            emit_log
        fi
        case $now in
        awaiting-confirm | committing | committed) report_result 0 ;;
        rolled-back | rollback-failed | blocked | superseded) report_result "$(exit_code)" ;;
        # Rarely, since it asks PID 1, which is busy with the activation.
        *) [ "$((turns % 60))" -ne 17 ] || is_open "$1" || report_died "$1" ;;
        esac
        sleep 0.1
        turns=$((turns + 1))
    done
    finish 10 progress state "$now" offset "$offset"
}

follow_after_reboot() { # ID: waits until the host runs a system, then reports it
    turns=0
    while [ -z "$(current)" ] && [ "$turns" -lt 100 ]; do
        sleep 0.2
        turns=$((turns + 1))
    done
    lock
    close_after_reboot "$1"
    unlock
    now=$(state "$1")
    [ "$now" != committed ] || report_result 0
    report_result 23
}

emit_log() { # what was appended to the log since OFFSET, a JSON line each
    size=$(stat -c %s "$folder/log" 2>/dev/null) || size=0
    [ "$size" -gt "$offset" ] || return 0
    [ "$((size - offset))" -le "$LOG_SENT" ] || offset=$((size - LOG_SENT))
    tail -c "+$((offset + 1))" "$folder/log" | head -c "$((size - offset))" | emit_lines log
    offset=$size
    emit progress state "$now" offset "$offset"
}

emit_lines() { # EVENT: a JSON line for each line of stdin
    tr -d '\000-\010\013-\037\177' | cut -c 1-2000 |
        sed 's/\\/\\\\/g; s/"/\\"/g; s/\t/ /g
             s/^/{"schema":1,"event":"'"$1"'","text":"/; s/$/"}/'
}

report_died() { # ID: its units are gone; look once more, its state may have changed
    sleep 1
    ! is_open "$1" || return 0
    read -r now <"$folder/state" || now=''
    case "$seen" in "$now "*) ;; *) return 0 ;; esac
    emit_log
    finish 50 died state "$now" current "$(current)" offset "$offset"
}

exit_code() { # of an attempt that has ended with the state `now`; a rollback that goes on may still succeed
    if [ "$now" = rollback-failed ]; then printf 50; else get "$folder/exit"; fi
}

failed_before() { # also those that systemd kept starting again
    cat "$folder/baseline-failed" "$folder/baseline-restarting" 2>/dev/null | sed '/^$/d' | sort -u
}

report_result() { # CODE: the attempt waits or has ended; report everything about it (I6)
    [ ! -s "$folder/journal" ] || emit_lines journal <"$folder/journal"
    finish "${1:-20}" result \
        id "${folder##*/}" \
        state "$now" \
        reason "$(get "$folder/reason" | head -c 1000 | one_line)" \
        old "$(get "$folder/old")" \
        new "$(get "$folder/new")" \
        current "$(current)" \
        profile "$(profile)" \
        code "$(get "$folder/code")" \
        exit "${1:-20}" \
        seconds "$(get "$folder/seconds")" \
        revertCode "$(get "$folder/revert-code")" \
        tries "$(get "$folder/tries")" \
        warnings "$(get "$folder/warnings")" \
        units "$(one_line <"$folder/failed-new" 2>/dev/null | head -c 4000)" \
        failedBefore "$(failed_before | one_line | head -c 4000)" \
        trouble "$(get "$folder/trouble")" \
        offset "$offset"
}

