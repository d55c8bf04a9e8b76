# --- commit -------------------------------------------------------------------------------

# The caller's connection proves that NEW's network, sshd, keys and sudo work. The work is done in its
# own unit, so that losing the connection now does no harm. Idempotent.
commit() { # NEW
    new=$1
    is_store_path "$new" || finish 64 refused reason "not a store path"
    load_attempt
    [ "$(state "${id:-none}")" != awaiting-confirm ] || sync_disk # the closure, mostly
    lock "$((bound + KILL_AFTER + 20))" # an earlier commit may hold it
    load_attempt
    close_after_reboot "$id"
    case $(state "${id:-none}") in
    awaiting-confirm | committing)
        [ "$(get "$folder/new")" = "$new" ] || refuse_commit "the attempt is for another system"
        is_this_boot "$id" || refuse_commit "the host was rebooted since"
        [ "$(current)" = "$new" ] || [ "$mode" = boot ] ||
            refuse_commit "the host runs another system"
        ;;
    *)
        is_already_default "$new" && finish 0 unchanged outcome unchanged toplevel "$new"
        [ "$(get "$folder/new")" != "$new" ] ||
            refuse_commit "its attempt has ended: $(state "$id"): $(get "$folder/reason")"
        refuse_commit "no attempt awaits confirmation"
        ;;
    esac
    start_commit
    unlock
    # Waits for its end; fails at once if another call has started it already.
    is_loaded "flakeup-commit-$id.service" ||
        start_unit "flakeup-commit-$id" "apply-commit $id" --service-type=oneshot \
            -p "TimeoutStartSec=$bound" -p "OnFailure=flakeup-uncommitted-$id.service" \
            -p KillSignal=SIGKILL 2>/dev/null
    read_uptime
    end=$((uptime + (bound + timeout + 60) * 100)) # the provider's command cannot be cancelled
    while [ "$uptime" -lt "$end" ] && ! is_decided; do
        sleep 0.05
        read_uptime
    done
    case $(state "$id") in
    committed)
        outcome=committed
        [ "$mode" = switch ] || outcome="committed, for the next start"
        finish 0 committed outcome "$outcome" toplevel "$new" generation "$(generation)" \
            warnings "$(get "$folder/warnings")"
        ;;
    *)
        trouble=$(get "$folder/trouble")
        finish 24 failed \
            reason "the commit failed: $(get "$folder/reason")${trouble:+; rolling back: $trouble}" \
            state "$(state "$id")" current "$(current)"
        ;;
    esac
}

is_decided() { # I8: a commit counts once it is on the disk
    has_ended "$(state "$id")" && { [ "$(state "$id")" != committed ] || [ -e "$folder/durable" ]; }
}

refuse_commit() { # WHY
    finish 31 refused reason "$1" current "$(current)" new "$new"
}

start_commit() { # I2: the commit has its own timer before it starts
    if [ "$(state "$id")" = awaiting-confirm ]; then
        arm "$id" uncommitted "$((bound + KILL_AFTER))" ||
            refuse_commit "systemd did not start the commit timer"
        if ! set_state "$id" committing; then
            disarm "$id" uncommitted
            refuse_commit "no space left for the attempt's files in $ETC"
        fi
        sync_state
    fi
}

# The boot loader makes its entries from the profile's generations: first `--set`, then `boot`.
apply_commit() { # ID
    lock 60
    folder=$ETC/attempts/$1
    [ "$(state "$1")" = committing ] || exit 0
    read_spec <"$folder/spec"
    old=$(get "$folder/old") new=$(get "$folder/new") code=0
    refuse_others_default
    note touched yes || fail 24 "no space left for the attempt's files in $ETC"
    timeout "$bound" nix-env --profile "$PROFILE" --set "$new" 9>&- || fail 24 "nix-env could not set the profile"
    point_sbin_init "$(get "$folder/new-init")"
    run_logged run_switch "$new" "$bound" boot
    if [ "$code" != 0 ]; then
        said=$(tail -n 3 "$folder/log" | grep -v '^--- flakeup: ' | excerpt 1000)
        fail 24 "the boot loader could not be installed${said:+: $said}"
    fi
    [ "$(profile)" = "$new" ] || fail 24 "the profile is not what it was set to"
    [ "$(current)" = "$new" ] || [ "$mode" = boot ] ||
        fail 31 "somebody else has activated $(current)"
    add_gc_root last "$old"
    sync_disk
    if ! record_commit "$new" || ! set_state "$1" committed; then
        fail 24 "no space left for the attempt's files in $ETC"
    fi
    sync_state
    note durable yes
    remove_gc_roots
    prune_generations
    # Last (I2): from here on nothing has to be rolled back.
    release_guard "$1"
}

# A boot default that is neither what it was nor NEW is somebody else's.
refuse_others_default() {
    [ "$(profile)" = "$(get "$folder/old-profile")" ] || is_own_default ||
        fail 31 "somebody else has made $(profile) the boot default"
}

# Whether it is this attempt's, or that of a torn commit which this attempt has taken over.
is_own_default() {
    set -- "$(profile)"
    [ "$1" = "$(get "$folder/new")" ] ||
        { [ -n "$1" ] && grep -qxF -- "$1" "$folder/torn" 2>/dev/null; }
}

# Whether the profile still is what a commit has made it.
is_unrestored() {
    [ "$(profile)" != "$(get "$folder/old-profile")" ] && is_own_default
}

prune_generations() { # keeps the newest `keep`, and the newest of OLD and of the booted system
    [ "$keep" -gt 0 ] || return 0
    booted=$(readlink -e /run/booted-system 2>/dev/null) || booted=
    for link in "$PROFILE"-[0-9]*-link; do
        number=${link#"$PROFILE"-}
        printf '%s\n' "${number%-link}"
    done | sort -rn | {
        seen=' ' count=0
        while read -r number; do
            system=$(readlink -e "$PROFILE-$number-link")
            count=$((count + 1))
            if [ "$count" -gt "$keep" ] && is_prunable "$system" "$seen"; then
                nix-env --profile "$PROFILE" --delete-generations "$number" 9>&-
            fi
            seen="$seen$system "
        done
    }
}

is_prunable() { # SYSTEM NEWER: neither OLD nor the booted system, or among the NEWER ones
    case $2 in *" $1 "*) return 0 ;; esac
    [ "$1" != "$old" ] && [ "$1" != "$booted" ]
}

