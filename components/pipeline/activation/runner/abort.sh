# --- abort --------------------------------------------------------------------------------

abort() { # ID WHY
    folder=$ETC/attempts/$1
    if ! is_this_boot "$1"; then
        lock
        close_after_reboot "$1"
        unlock
    fi
    if [ "$(state "$1")" = awaiting-confirm ]; then # otherwise do not wait for the lock
        lock
        if [ "$(state "$1")" = awaiting-confirm ]; then
            note_first reason "$2"
            note_first exit 21
            systemctl start "flakeup-unconfirmed-$1.service" 9>&-
        fi
        unlock
    fi
    case $(state "$1") in
    awaiting-confirm | rolling-back | rolled-back | rollback-failed | superseded) ;;
    *)
        finish 31 refused id "$1" reason "not awaiting confirmation" \
            state "$(state "$1")" current "$(current)"
        ;;
    esac
    offset=0 turns=0
    while :; do
        now=$(state "$1")
        has_ended "$now" && break
        [ "$turns" -lt 100 ] || finish 10 progress state "$now" offset 0
        sleep 0.25
        turns=$((turns + 1))
    done
    report_result "$(exit_code)"
}

