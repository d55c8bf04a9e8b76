# --- start --------------------------------------------------------------------------------

# The boot default is what the profile says, once `boot` has run for it: a crash between `--set`
# and `boot` leaves `committing` behind, and is finished by the next attempt.
is_settled() { # NEW
    [ "$(profile)" = "$1" ] || return 1
    [ "$(current)" = "$1" ] || [ "$mode" = boot ] || return 1
    newest=$(attempt_id)
    [ -z "$newest" ] || [ "$(state "$newest")" != committing ]
}

start() { # ID OLD|- NEW, the spec on stdin
    id=$1 old=$2 new=$3
    is_id "$id" || finish 64 refused reason "unusable id"
    is_store_path "$new" || finish 64 refused reason "unusable new system"
    [ "$old" = - ] || is_store_path "$old" || finish 64 refused reason "unusable old system"
    spec=$(head -c "$((SPEC_LIMIT + 1))")
    [ "${#spec}" -le "$SPEC_LIMIT" ] || finish 64 refused reason "the spec is too long"
    case $spec in
    *"
end") ;;
    *) finish 64 refused reason "the spec was truncated" ;; # a connection that broke
    esac
    read_spec <<END
$spec
END
    locked
    held=$(attempt_id)
    end_by_boot "$held"
    if [ "$held" = "$id" ] || is_open "$held"; then attach "$held" "$new"; fi
    is_settled "$new" && finish 0 unchanged new "$new"
    # A copy that was cut off leaves a path that is there, and not valid.
    nix-store --check-validity "$new" 2>/dev/null || finish 11 absent new "$new"
    now=$(current) again=no
    if is_stranded "$held"; then
        now=$(get "$ETC/attempts/$held/old") again=yes
    fi
    # A host that runs neither OLD nor NEW was changed by somebody: they decide, not we.
    # With `mode boot` OLD may be staged only: it boots, and has not run yet.
    [ "$old" = - ] || [ "$now" = "$old" ] || [ "$now" = "$new" ] || is_one_ahead "$old" ||
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

# The last commit was this stack's own, from OLD to what runs: its deployer was killed before it had
# written its state.
is_one_ahead() { # OLD
    [ -n "$stack" ] && [ "$(committed_from)" = "$1" ] && [ "$(committed_by)" = "$stack" ]
}

supersede() { # ID
    folder=$ETC/attempts/$1
    note exit 31
    enter "$1" superseded
}

# The same attempt started twice is one attempt, also when it has ended meanwhile; a different one has
# to wait for its end.
attach() { # ID NEW
    folder=$ETC/attempts/$1
    if [ "$(get "$folder/new")" = "$2" ]; then
        unlocked
        say attached id "$1"
        follow "$1" 0
    fi
    read_spec <"$folder/spec"
    finish 75 held id "$1" new "$(get "$folder/new")" by "$by" state "$(state "$1")"
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
    note boot-id "$BOOT_ID"
    note path "$PATH"
    note shell "$(readlink -f /bin/sh)"
    note_default "$2"
    note_units
    note baseline-restless ""
    [ "$settle" = 0 ] || note_restless
    : >"$folder/log"
    : >"$folder/failed-new"
    if ! cp -f "$RUN/switch" "$folder/runner" || [ "$(get "$folder/shell")" = "" ] ||
        ! root old "$2" || ! root new "$3" || ! enter "$1" prepared ||
        ! ln -sfn "attempts/$1" "$ETC/current.tmp" || ! mv -fT "$ETC/current.tmp" "$ETC/current"; then
        rm -rf "$folder"
        finish 30 blocked id "$1" reason "no room for the attempt's own files in $ETC"
    fi
    forget "$1"
}

# What had failed before is not this attempt's doing; what lets people in is brought up again.
note_units() {
    all=$(systemctl list-units --all --plain --no-legend --full 2>/dev/null | grep -v '^flakeup-')
    note baseline-failed "$(printf '%s\n' "$all" |
        sed -n 's/^\([^ ]*\) *[^ ]* *failed .*/\1/p
                s/^\([^ ]*\) *[^ ]* *[^ ]* *auto-restart .*/\1/p')"
    note baseline-network "$(printf '%s\n' "$all" |
        sed -n 's/^\([^ ]*\) *[^ ]* *active .*/\1/p' | grep -E "$NETWORK_UNITS")"
}

# What boots before the attempt. A commit that a power cut has torn may have left the profile ahead of
# what boots: then it is that commit's OLD, and to be put back like after a commit of our own.
note_default() { # OLD
    torn=$ETC/attempts/${held:-none}
    if [ -e "$torn/touched" ] && [ "$(state "$held")" = committing ] &&
        [ "$(get "$torn/old")" = "$1" ]; then
        cp -f "$torn/old-profile" "$torn/old-generation" "$torn/touched" "$folder/"
        return
    fi
    note old-profile "$(profile)"
    note old-generation "$(generation)"
}

# I4: OLD and NEW are GC roots from here on, and the last committed OLD stays one.
root() { # NAME SYSTEM
    [ -z "$2" ] || ln -sfn "$2" "$ROOTS/$1"
}

forget() { # ID: all but it and the newest attempts; their ids sort by the deployers' clocks
    find "$ETC/attempts" -mindepth 1 -maxdepth 1 -type d ! -name "$1" | sort -r | tail -n "+$((REMEMBERED + 1))" |
        while read -r stale; do rm -rf "$stale"; done
}

check_before() { # ID NEW: what NixOS itself refuses is refused before anything has changed
    code=0
    timeout --kill-after="$KILL_AFTER" "$CHECK_LIMIT" "$2/bin/switch-to-configuration" check \
        >"$folder/log" 2>&1 9>&- || code=$?
    truncate --size="<$LOG_KEPT" "$folder/log" # I5
    case $code in
    0) return 0 ;;
    124 | 137) refuse_start "$1" "its own checks did not end within $CHECK_LIMIT s" ;;
    esac
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

