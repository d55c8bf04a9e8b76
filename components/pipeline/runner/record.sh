# --- the attempt on disk ------------------------------------------------------------------

# I3: one attempt a host; `current` names it.
attempt_id() {
    link=$(readlink "$ETC/current" 2>/dev/null) || link=
    printf '%s' "${link##*/}"
}
state() { get "$ETC/attempts/$1/state"; }
enter() { # ID STATE; on a full disk the log makes room for it
    put "$ETC/attempts/$1/state" "$2" && return
    : >"$ETC/attempts/$1/log"
    put "$ETC/attempts/$1/state" "$2"
}
note() { printf '%s\n' "$2" >"$folder/$1"; } # NAME TEXT: made durable by the state that follows
note_first() { [ -e "$folder/$1" ] || note "$1" "$2"; } # the first reason is the reason

locked() { # [SECONDS]: every change of state is made under the one lock
    mkdir -p "$RUN"
    exec 9>"$RUN/lock"
    flock -w "${1:-20}" 9 || finish 75 refused reason "the lock of flakeup is held by another call"
}
unlocked() { exec 9>&-; }

advance() { # ID FROM TO: what was decided meanwhile (a timer, another call) is not undone
    locked
    advanced=1
    [ "$(state "$1")" != "$2" ] || ! enter "$1" "$3" || advanced=0
    unlocked
    return "$advanced"
}

has_ended() { # STATE
    case $1 in
    committed | rolled-back | rollback-failed | blocked | superseded | "") return 0 ;;
    *) return 1 ;;
    esac
}

# Under way: an attempt of this boot that has not ended, and that PID 1 still holds a unit or a
# timer for. A boot ends every attempt: the default was OLD.
is_open() { # ID
    [ -n "$1" ] && ! has_ended "$(state "$1")" && is_of_this_boot "$1" && is_held "$1"
}

is_of_this_boot() { [ "$(get "$ETC/attempts/$1/boot-id")" = "$(boot_id)" ]; } # ID

is_held() { # ID
    [ -n "$(systemctl list-units --all --plain --no-legend \
        --state=active,activating,reloading,deactivating "flakeup-*-$1.*" 2>/dev/null)" ]
}

# An attempt of this boot that nothing will bring to its end: somebody has taken its units away.
is_stranded() { # ID
    [ -n "$1" ] && ! has_ended "$(state "$1")" && is_of_this_boot "$1" && ! is_held "$1"
}

# A boot before the commit was the way back. One in the middle of a commit has come after the
# confirmation: the next attempt brings it to its end.
end_by_boot() { # ID
    [ -n "$1" ] && ! has_ended "$(state "$1")" && ! is_of_this_boot "$1" || return 0
    folder=$ETC/attempts/$1
    note_first reason "the host was rebooted"
    note exit 23
    [ "$(state "$1")" = committing ] || enter "$1" rolled-back
}

read_spec() { # the spec on stdin: its numbers, or the defaults where it has none
    timeout=600 settle=10 deadline=120 confirm=120 bound=60 keep=0 mode=switch by=unknown
    while read -r key value; do
        case $key in
        mode) [ "$value" != boot ] || mode=boot ;;
        by) by=$value ;;
        esac
        is_number "$value" || continue
        case $key in
        timeout) timeout=$value ;;
        settle) settle=$value ;;
        deadline) deadline=$value ;;
        confirm) confirm=$value ;;
        commit) bound=$value ;;
        keep) keep=$value ;;
        esac
    done
}

