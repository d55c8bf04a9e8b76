# --- start --------------------------------------------------------------------------------

# The profile alone is not the boot default: `boot` may have failed or never run, by hand or in a crash
# between `--set` and `boot`. So only what a commit of ours has recorded counts.
is_already_default() { # NEW
    [ "$(profile)" = "$1" ] && is_recorded "$1" || return 1
    [ "$(current)" = "$1" ] || [ "$mode" = boot ] || return 1
    newest=$(attempt_id)
    [ -z "$newest" ] || ! is_unfinished "$newest"
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
    *) finish 64 refused reason "the spec was truncated" ;; # a broken connection
    esac
    read_spec <<END
$spec
END
    lock
    held=$(attempt_id)
    close_after_reboot "$held"
    if [ "$held" = "$id" ] || is_open "$held"; then attach "$held" "$new"; fi
    is_already_default "$new" && finish 0 unchanged new "$new"
    # An interrupted copy leaves a path that exists but is not valid.
    timeout "$STORE_LIMIT" nix-store --check-validity "$new" 2>/dev/null 9>&- || finish 11 absent new "$new"
    now=$(current) again=no
    if is_taken_over "$held"; then
        now=$(get "$ETC/attempts/$held/old") again=yes
        [ "$mode" = switch ] || [ "$now" = "$(current)" ] ||
            finish 30 blocked reason "its last rollback has failed, and goes on; wait for it, or deploy in activation.mode: switch"
    fi
    # Somebody changed a host that runs neither OLD nor NEW: people decide what to do.
    # With `mode boot` OLD may only be staged: it is the boot default, but has not run yet.
    [ "$old" = - ] || [ "$now" = "$old" ] || [ "$now" = "$new" ] || is_one_ahead "$old" ||
        { [ "$mode" = boot ] && [ "$(profile)" = "$old" ]; } ||
        finish 31 drifted current "$now" old "$old" new "$new"
    is_other_switch_running && finish 75 held by "another switch-to-configuration" new ""
    require_nixos_system "$new"
    prepare "$id" "$now" "$new"
    run_preswitch_checks "$id" "$new"
    launch "$id"
    unlock
    emit started id "$id" old "$now" new "$new"
    follow "$id" 0
}

# What such an attempt has left running was never confirmed: OLD is still the system before it, and NEW
# is activated even if it seems to run. An attempt that has changed nothing, and a host that somebody
# has switched to another system since, are not its.
is_taken_over() { # ID
    [ -n "$1" ] && [ "$(state "$1")" != prepared ] || return 1
    [ "$(state "$1")" = rollback-failed ] || is_orphaned "$1" || return 1
    is_own_system "$1" "$(current)"
}

is_own_system() { # ID SYSTEM: whether it is OLD, NEW, or what a failed attempt before it has left
    [ -z "$2" ] || [ "$2" = "$(get "$ETC/attempts/$1/old")" ] ||
        [ "$2" = "$(get "$ETC/attempts/$1/new")" ] || [ "$2" = "$(get "$ETC/attempts/$1/left")" ]
}

# The last commit was this stack's, from OLD to what runs now: its deployer was killed before it saved
# its state.
is_one_ahead() { # OLD
    [ -n "$stack" ] && [ "$(committed_from)" = "$1" ] && [ "$(committed_by)" = "$stack" ]
}

# Its rollback, if it goes on, ends with this state: it would take what is deployed from here on for its
# own.
supersede_held() {
    note_in "$held" exit 31
    set_state "$held" superseded
    release_guard "$held"
}

# Starting an attempt again attaches to it, even if it has ended; another attempt has to wait.
attach() { # ID NEW
    folder=$ETC/attempts/$1
    if [ "$(get "$folder/new")" = "$2" ]; then
        unlock
        emit attached id "$1"
        follow "$1" 0
    fi
    read_spec <"$folder/spec"
    finish 75 held id "$1" new "$(get "$folder/new")" by "$by" state "$(state "$1")"
}

require_nixos_system() { # NEW
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
    rm -rf "$folder" # of a try that was refused
    mkdir -p "$folder" "$ROOTS"
    printf '%s\n' "$spec" >"$folder/spec"
    note old "$2"
    note new "$3"
    note again "$again"
    [ "$again" = no ] || note left "$(current)"
    note boot-id "$BOOT_ID"
    note path "$PATH"
    note shell "$(readlink -f /bin/sh)"
    note_boot_default "$2"
    note init "$(sbin_init)"
    if ! note_manager_clock || ! note_baseline "$2" "$3"; then
        rm -rf "$folder"
        finish 30 blocked id "$1" reason "systemd did not say which units have failed"
    fi
    printf '' >"$folder/log"
    printf '' >"$folder/failed-new"
    if ! cp -f "$0" "$folder/runner" || [ "$(get "$folder/shell")" = "" ] ||
        [ "$(get "$folder/old")" != "$2" ] || [ "$(get "$folder/new")" != "$3" ] ||
        ! add_gc_root old "$2" || ! add_gc_root new "$3" || ! set_state "$1" prepared; then
        rm -rf "$folder"
        finish 30 blocked id "$1" reason "no space left for the attempt's files in $ETC"
    fi
    # A garbage collection that is under way has read the roots; nix tells it of what is realised.
    if ! timeout "$STORE_LIMIT" nix-store --realise --option substitute false "$3" >/dev/null 2>&1 9>&-; then
        rm -rf "$folder" "$ROOTS/new"
        finish 11 absent new "$3"
    fi
    if ! point_current "$1"; then
        rm -rf "$folder"
        finish 30 blocked id "$1" reason "no space left for the attempt's files in $ETC"
    fi
    prune_attempts "$1"
}

point_current() { # ID
    ln -sfn "attempts/$1" "$ETC/current.tmp" && mv -fT "$ETC/current.tmp" "$ETC/current"
}

# The baseline of an attempt that is taken over counts: since then the units are NEW's. Fails if PID 1
# does not answer.
note_baseline() { # OLD NEW
    if [ "$again" = yes ]; then
        cp -f "$ETC/attempts/$held"/baseline-* "$folder/"
        return
    fi
    note_baseline_units "$1" || return
    [ "$settle" = 0 ] || note_restarting || return
    excuse_same_units "$1" "$2"
    # A rollback need not do better.
    note baseline-active "$(drop_listed "$folder/baseline-restarting" <"$folder/baseline-active")"
}

# A unit that keeps failing may fail for good during the attempt: switches begin its start limit again.
# It is NEW's fault only if NEW has another definition of it.
excuse_same_units() { # OLD NEW
    same=$(while read -r unit; do
        [ "$(unit_files "$1" "$unit")" != "$(unit_files "$2" "$unit")" ] || printf '%s\n' "$unit"
    done <"$folder/baseline-restarting")
    note baseline-failed "$(
        cat "$folder/baseline-failed"
        printf '%s' "$same"
    )"
}

unit_files() { # SYSTEM UNIT: its definition, with that of its template and with drop-ins
    for file in "$2" "$(printf '%s' "$2" | sed 's/@.*\./@./')"; do
        readlink -e -- "$1/etc/systemd/system/$file" "$1/etc/systemd/system/$file.d"/*
    done 2>/dev/null
}

# Units that failed before are not this attempt's fault, and those that systemd starts again after a
# failure may go on so. Those that were active and that targets want are active again after a rollback;
# the network's even if no target wants them.
note_baseline_units() { # OLD
    all=$(list_units) || return
    failed=$(printf '%s\n' "$all" | pick_failed /dev/null) || return
    note baseline-failed "$(printf '%s\n' "$all" | sed -n 's/^\([^ ]*\) *[^ ]* *failed .*/\1/p')"
    note baseline-restarting "$(printf '%s\n' "$failed" | drop_listed "$folder/baseline-failed")"
    active=$(printf '%s\n' "$all" | sed -n 's/^\([^ ]*\) *[^ ]* *active .*/\1/p')
    note baseline-network "$(printf '%s\n' "$active" | grep -E "$NETWORK_UNITS")"
    note wanted "$(printf '%s\n' "$1"/etc/systemd/system/*.wants/* "$1"/etc/systemd/system/*.requires/* |
        sed 's|.*/||')"
    note baseline-active "$(printf '%s\n' "$active" | grep -E '\.(service|socket|timer|path)$' |
        grep -xF -f "$folder/wanted")"
    rm -f "$folder/wanted"
}

# The boot default before the attempt. A commit torn by a power cut may have left the profile ahead of
# it: then it is that commit's OLD, and is restored as after a commit of this attempt.
note_boot_default() { # OLD
    torn=$ETC/attempts/${held:-none}
    if [ -e "$torn/touched" ] && [ "$(get "$torn/old")" = "$1" ] &&
        { [ "$(state "$held")" = committing ] || [ "$again" = yes ]; }; then
        cp -f "$torn/old-profile" "$torn/old-generation" "$torn/touched" "$folder/"
        note torn "$(get "$torn/new" && get "$torn/torn")"
        return
    fi
    note old-profile "$(profile)"
    note old-generation "$(generation)"
}

# I4: OLD and NEW are GC roots from here on; the last committed OLD stays one.
add_gc_root() { # NAME SYSTEM
    [ -z "$2" ] || ln -sfn "$2" "$ROOTS/$1"
}

prune_attempts() { # ID: keeps it and the newest attempts; ids sort by the deployers' clocks
    find "$ETC/attempts" -mindepth 1 -maxdepth 1 -type d ! -name "$1" ! -name "${held:-$1}" | sort -r | tail -n "+$((KEPT_ATTEMPTS + 1))" |
        while read -r stale; do rm -rf "$stale"; done
}

run_preswitch_checks() { # ID NEW: NixOS's own checks, before anything changes
    code=0
    timeout --kill-after="$KILL_AFTER" "$CHECK_LIMIT" "$2/bin/switch-to-configuration" check \
        >"$folder/log" 2>&1 9>&- || code=$?
    truncate --size="<$LOG_KEPT" "$folder/log" # I5
    case $code in
    0) return 0 ;;
    124 | 137) refuse_start "$1" "its pre-switch checks did not finish within $CHECK_LIMIT s" ;;
    esac
    # Systems without the action `check` print their usage: that is no failure.
    if ! grep -q -e 'Pre-switch checks failed$' -e '^Could not acquire lock' "$folder/log"; then
        printf '' >"$folder/log"
        return
    fi
    refuse_start "$1" "$(describe_preswitch_checks)"
}

# What they say first is the cause, then come ways to ignore them. The last line may lack its end.
describe_preswitch_checks() {
    said=$(sed -e 's/Pre-switch checks failed$//' -e '/^--- flakeup: /d' -e '/^$/d' "$folder/log" |
        head -n 10 | excerpt 4000)
    printf 'its pre-switch checks failed%s; to deploy it for the next start, set activation.mode: boot' \
        "${said:+: $said}"
}

refuse_start() { # ID REASON
    block "$1" "$2"
    finish 30 blocked id "$1" reason "$2"
}

block() { # ID REASON: nothing was changed
    note reason "$2"
    note exit 30
    set_state "$1" blocked
    release_guard "$1"
    # What could not be rolled back before still has to be: its attempt keeps the host, and its OLD.
    if [ "$(get "$folder/again")" = no ]; then remove_gc_roots; else point_current "$held"; fi
}

remove_gc_roots() { rm -f "$ROOTS/old" "$ROOTS/new"; }

# From here on PID 1 owns the attempt: first its rollback timer, then its unit, whose failure starts
# the rollback.
launch() { # ID; `timeout` and `deadline` as `start` has read them
    protect_nixos_lock
    write_resume_unit "$1" || refuse_start "$1" "no space left in /run/systemd/system"
    sync_disk
    arm_revert "$1" || refuse_start "$1" "systemd did not start the rollback timer"
    start_unit "flakeup-activate-$1" "run $1" --no-block \
        -p "OnFailure=flakeup-revert-$1.service" -p KillSignal=SIGKILL ||
        refuse_start "$1" "systemd-run refused to start the activation"
    ! is_unfinished "$held" || ! is_this_boot "$held" || supersede_held
}

arm_revert() { # ID
    arm "$1" revert "$((timeout + KILL_AFTER + deadline))" || return 1
    is_on_time "$1" && return
    systemctl stop "flakeup-revert-$1.timer"
    arm "$1" revert "$((timeout + KILL_AFTER + deadline))"
}

# Whoever may open NixOS's lock may hold it, and no system could be activated any more.
protect_nixos_lock() {
    mkdir -p /run/nixos && printf '' >>/run/nixos/switch-to-configuration.lock &&
        chmod 0600 /run/nixos/switch-to-configuration.lock
}
