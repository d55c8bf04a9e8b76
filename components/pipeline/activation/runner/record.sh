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
    [ -d "$RUN" ] || mkdir -p "$RUN"
    exec 9>"$RUN/lock"
    flock -w "${1:-20}" 9 || finish 75 refused reason "the lock of flakeup is held by another call"
}
unlocked() { exec 9>&-; }

advance() { # ID FROM TO: what was decided meanwhile (a timer, another call) is not undone
    locked
    if [ "$(state "$1")" != "$2" ]; then
        unlocked
        return 1
    fi
    enter "$1" "$3" || fail 20 "no room for the attempt's own files in $ETC"
    unlocked
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

is_of_this_boot() { [ "$(get "$ETC/attempts/$1/boot-id")" = "$BOOT_ID" ]; } # ID

is_held() { # ID; a PID 1 that cannot be asked, since it is being re-executed, holds what it held
    held_by=$(systemctl list-units --all --plain --no-legend \
        --state=active,activating,reloading,deactivating "flakeup-*-$1.*" 2>/dev/null) || return 0
    [ -n "$held_by" ]
}

# An attempt of this boot that nothing will bring to its end: somebody has taken its units away.
is_stranded() { # ID
    [ -n "$1" ] && ! has_ended "$(state "$1")" && is_of_this_boot "$1" && ! is_held "$1"
}

# A boot before the commit was the way back. One in the middle of a commit has come after the
# confirmation: the next attempt brings it to its end. One in the middle of a way back from a commit
# may have started either system.
end_by_boot() { # ID
    [ -n "$1" ] && ! has_ended "$(state "$1")" && ! is_of_this_boot "$1" || return 0
    folder=$ETC/attempts/$1 ended=rolled-back
    case $(state "$1") in
    committing) ended=committing ;;
    rolling-back)
        [ ! -e "$folder/touched" ] ||
            [ "$(readlink -e /run/booted-system 2>/dev/null)" = "$(get "$folder/old")" ] ||
            ended=rollback-failed
        ;;
    esac
    note_first reason "the host was rebooted"
    note exit 23
    [ "$ended" = committing ] || enter "$1" "$ended"
}

# The attempt that holds the host: `id`, its `folder`, and what its spec says.
use_attempt() {
    id=$(attempt_id)
    folder=$ETC/attempts/${id:-none}
    if [ -e "$folder/spec" ]; then read_spec <"$folder/spec"; else read_spec </dev/null; fi
}

# What the host ran before its last commit, where what that led to still runs, and whose it was.
committed_from() {
    last=$ETC/attempts/$(attempt_id)
    [ "$(get "$last/state")" != committed ] || [ "$(get "$last/new")" != "$(current)" ] ||
        get "$last/old"
}
committed_by() { sed -n 's/^stack //p' "$ETC/current/spec" 2>/dev/null; }

read_spec() { # the spec on stdin: its numbers, or the defaults where it has none
    timeout=600 settle=10 deadline=120 confirm=120 bound=60 keep=0 mode=switch by=unknown stack=
    while read -r key value; do
        case $key in
        mode) [ "$value" != boot ] || mode=boot ;;
        by) by=$value ;;
        stack) stack=$value ;;
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

