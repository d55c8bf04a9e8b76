# --- the attempt on disk ------------------------------------------------------------------

# I3: one attempt a host; `current` names it.
attempt_id() {
    link=$(readlink "$ETC/current" 2>/dev/null) || link=
    printf '%s' "${link##*/}"
}
state() { get "$ETC/attempts/$1/state"; }
set_state() { # ID STATE; on a full disk the log is dropped to make room
    if ! write_synced "$ETC/attempts/$1/state" "$2"; then
        printf '' >"$ETC/attempts/$1/log" # not `:`, whose failed redirection ends the shell
        write_synced "$ETC/attempts/$1/state" "$2" || return
    fi
    ! has_ended "$2" || forget_checks "$1" || true
}
note() { printf '%s\n' "$2" >"$folder/$1"; } # NAME TEXT
note_in() { printf '%s\n' "$3" >"$ETC/attempts/$1/$2"; } # ID NAME TEXT
note_first() { [ -e "$folder/$1" ] || note "$1" "$2"; } # the first reason wins

# I8: the whole file system, as it also holds the closure, the profile and nix's database. Before a timer
# is armed and without the lock where that is possible: it takes as long as the disk needs.
sync_disk() { sync -f "$ETC" 2>/dev/null || sync; }
sync_state() { sync "$folder" "$ETC/attempts" "$ETC" 2>/dev/null || sync_disk; } # the names, too

lock() { # [SECONDS]: every change of state is made under this lock
    [ -d "$RUN" ] || mkdir -p "$RUN"
    exec 9>"$RUN/lock"
    flock -w "${1:-20}" 9 || finish 75 refused reason "another flakeup call holds the lock"
}
unlock() { exec 9>&-; }

advance() { # ID FROM TO: fails if a timer or another call has changed the state meanwhile
    lock 120 # another deployer's `start` may hold it while PID 1 is busy
    if [ "$(state "$1")" != "$2" ]; then
        unlock
        return 1
    fi
    set_state "$1" "$3" || fail 20 "no space left for the attempt's files in $ETC"
    unlock
}

has_ended() { # STATE
    case $1 in
    committed | rolled-back | rollback-failed | blocked | superseded | "") return 0 ;;
    *) return 1 ;;
    esac
}

# Open: an attempt of this boot that has not ended and still has a unit or a timer. A reboot ends
# every attempt: the boot default was OLD.
is_open() { # ID
    [ -n "$1" ] && ! has_ended "$(state "$1")" && is_this_boot "$1" && has_units "$1"
}

is_this_boot() { [ "$(get "$ETC/attempts/$1/boot-id")" = "$BOOT_ID" ]; } # ID

has_units() { # ID; true if PID 1 cannot be asked because it is being re-executed
    units=$(systemctl list-units --all --plain --no-legend \
        --state=active,activating,reloading,deactivating "flakeup-*-$1.*" 2>/dev/null) || return 0
    [ -n "$units" ]
}

# An attempt of this boot that nothing will finish: somebody has removed its units.
is_orphaned() { # ID
    [ -n "$1" ] && ! has_ended "$(state "$1")" && is_this_boot "$1" && ! has_units "$1"
}

# A reboot before the commit is a rollback if the host has booted OLD; otherwise somebody has chosen
# what it boots, or OLD's boot entry was not restored. A reboot during the commit came after the
# confirmation: the next attempt finishes it.
close_after_reboot() { # ID
    [ -n "$1" ] && is_unfinished "$1" && ! is_this_boot "$1" && [ "$(state "$1")" != committing ] ||
        return 0
    folder=$ETC/attempts/$1
    note_first reason "the host was rebooted"
    note exit 23
    runs=$(current)
    [ -n "$runs" ] || return 0 # it is still booting
    if [ -e "$folder/touched" ] &&
        { [ "$runs" = "$(get "$folder/new")" ] || is_unrestored; }; then
        end_rollback "$1" rollback-failed "it has booted $runs, and the profile is $(profile)"
    elif [ "$runs" = "$(get "$folder/old")" ]; then
        measure_default "$1"
    else
        end_rollback "$1" superseded "it has booted $runs, which is not the previous system"
    fi
}

# Not ended, or a rollback that goes on.
is_unfinished() { # ID
    ! has_ended "$(state "$1")" || [ "$(state "$1")" = rollback-failed ]
}

# Sets `id` and `folder` of the current attempt, and the settings of its spec.
load_attempt() {
    id=$(attempt_id)
    folder=$ETC/attempts/${id:-none}
    if [ -e "$folder/spec" ]; then read_spec <"$folder/spec"; else read_spec </dev/null; fi
}

# The system of the last commit and its generation: only that is known to be the boot default.
record_commit() { write_synced "$ETC/committed" "$1 $(generation)"; } # NEW
is_recorded() { [ "$(get "$ETC/committed")" = "$1 $(generation)" ]; }  # SYSTEM

# What the host ran before its last commit, if that commit's system still runs; and its stack.
committed_from() {
    last=$ETC/attempts/$(attempt_id)
    [ "$(get "$last/state")" != committed ] || [ "$(get "$last/new")" != "$(current)" ] ||
        get "$last/old"
}
committed_by() { sed -n 's/^stack //p' "$ETC/current/spec" 2>/dev/null; }

read_spec() { # the spec on stdin; sets its settings, or their defaults
    timeout=600 settle=10 deadline=120 confirm=120 bound=60 keep=0 mode=switch by=unknown stack=
    may_fail='' output=yes reboot=no
    while read -r key value; do
        case $key in
        mode) [ "$value" != boot ] || mode=boot ;;
        by) by=$value ;;
        stack) stack=$value ;;
        reboot) [ "$value" != yes ] || reboot=yes ;;
        mayFail) may_fail=$value ;;
        output) [ "$value" != no ] || output=no ;;
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

