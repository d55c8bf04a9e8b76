# --- start --------------------------------------------------------------------------------

# The boot default is what the profile says, once `boot` has run for it: a crash between `--set`
# and `boot` leaves `committing` behind, and is finished by the next attempt.
is_settled() { # NEW
    [ "$(profile)" = "$1" ] || return 1
    [ "$(current)" = "$1" ] || [ "$mode" = boot ] || return 1
    id=$(attempt_id)
    [ -z "$id" ] || [ "$(state "$id")" != committing ]
}

start() { # ID OLD|- NEW, the spec on stdin
    id=$1 old=$2 new=$3
    is_id "$id" || finish 64 refused reason "unusable id"
    is_store_path "$new" || finish 64 refused reason "unusable new system"
    [ "$old" = - ] || is_store_path "$old" || finish 64 refused reason "unusable old system"
    spec=$(head -c "$((SPEC_LIMIT + 1))")
    [ "${#spec}" -le "$SPEC_LIMIT" ] || finish 64 refused reason "the spec is too long"
    read_spec <<END
$spec
END
    locked
    held=$(attempt_id)
    end_by_boot "$held"
    is_open "$held" && attach "$held" "$new"
    is_settled "$new" && finish 0 unchanged new "$new"
    # A copy that was cut off leaves a path that is there, and not valid.
    nix-store --check-validity "$new" 2>/dev/null || finish 11 absent new "$new"
    now=$(current) again=no
    if is_stranded "$held"; then
        now=$(get "$ETC/attempts/$held/old") again=yes
    fi
    # A host that runs neither OLD nor NEW was changed by somebody: they decide, not we.
    # With `mode boot` OLD may be staged only: it boots, and has not run yet.
    [ "$old" = - ] || [ "$now" = "$old" ] || [ "$now" = "$new" ] ||
        { [ "$mode" = boot ] && [ "$(profile)" = "$old" ]; } ||
        finish 31 drifted current "$now" old "$old" new "$new"
    foreign_switch && finish 75 held by "another switch-to-configuration" new ""
    system_is_whole "$new"
    [ "$again" = no ] || supersede "$held"
    prepare "$id" "$now" "$new"
    check_before "$id" "$new"
    launch "$id"
    unlocked
    say started id "$id" old "$now" new "$new"
    follow "$id" 0
}

supersede() { # ID
    folder=$ETC/attempts/$1
    note exit 31
    enter "$1" superseded
}

# The same attempt started twice is one attempt; a different one has to wait for its end.
attach() { # ID NEW
    if [ "$(get "$ETC/attempts/$1/new")" = "$2" ]; then
        unlocked
        say attached id "$1"
        follow "$1" 0
    fi
    read_spec <"$ETC/attempts/$1/spec"
    finish 75 held id "$1" new "$(get "$ETC/attempts/$1/new")" by "$by" state "$(state "$1")"
}

system_is_whole() { # NEW
    for part in bin/switch-to-configuration nixos-version activate; do
        [ -e "$1/$part" ] || finish 30 blocked reason "$1 has no $part: it is not a NixOS system"
    done
    wanted=$(get "$1/system")
    case $wanted in
    "" | "$(uname -m)-linux") ;;
    i686-linux) [ "$(uname -m)" = x86_64 ] || finish 30 blocked reason "built for $wanted" ;;
    *) finish 30 blocked reason "built for $wanted, and this host is $(uname -m)" ;;
    esac
}

prepare() { # ID OLD NEW; `spec` and `again` as `start` has them
    folder=$ETC/attempts/$1
    mkdir -p "$folder" "$ROOTS"
    printf '%s\n' "$spec" >"$folder/spec"
    note old "$2"
    note new "$3"
    note again "$again"
    note boot-id "$(boot_id)"
    note old-profile "$(profile)"
    note old-generation "$(generation)"
    note baseline-failed "$(failed_units)"
    note baseline-network "$(units_in active | grep -E "$NETWORK_UNITS")"
    : >"$folder/log"
    : >"$folder/failed-new"
    if ! cp -f "$RUN/switch" "$folder/runner" || ! enter "$1" prepared; then
        rm -rf "$folder"
        finish 30 blocked id "$1" reason "no room for the attempt's own files in $ETC"
    fi
    root old "$2"
    root new "$3"
    ln -sfn "attempts/$1" "$ETC/current.tmp" && mv -fT "$ETC/current.tmp" "$ETC/current"
    forget
}

# I4: OLD and NEW are GC roots from here on, and the last committed OLD stays one.
root() { # NAME SYSTEM
    [ -z "$2" ] || ln -sfn "$2" "$ROOTS/$1"
}

forget() { # all but the newest attempts; their ids sort by time
    find "$ETC/attempts" -mindepth 1 -maxdepth 1 -type d | sort -r | tail -n "+$((REMEMBERED + 1))" |
        while read -r stale; do rm -rf "$stale"; done
}

check_before() { # ID NEW: what NixOS itself refuses is refused before anything has changed
    "$2/bin/switch-to-configuration" check >"$folder/log" 2>&1 9>&- && return 0
    # Systems from before the action `check` answer with their usage: not a verdict.
    grep -q -e '^Pre-switch checks failed' -e '^Could not acquire lock' "$folder/log" || return 0
    refuse_start "$1" "its own checks refuse: $(tail -n 5 "$folder/log" | one_line)"
}

refuse_start() { # ID REASON
    block "$1" "$2"
    finish 30 blocked id "$1" reason "$2"
}

block() { # ID REASON: nothing has been changed
    note reason "$2"
    note exit 30
    enter "$1" blocked
    disarm "$1" revert
    unroot
}

unroot() { rm -f "$ROOTS/old" "$ROOTS/new"; }

# From here on the attempt is PID 1's: its way back first, then itself, with the way back as what
# follows when it fails or is killed.
launch() { # ID; `timeout` and `deadline` as `start` has read them
    arm "$1" revert "$((timeout + KILL_AFTER + deadline))" ||
        refuse_start "$1" "systemd did not arm the timer of the way back"
    in_unit "flakeup-activate-$1" "run $1" --no-block \
        -p "OnFailure=flakeup-revert-$1.service" -p KillSignal=SIGKILL ||
        refuse_start "$1" "systemd-run refused to start the activation"
}

