# --- commit -------------------------------------------------------------------------------

# The caller's connection is the proof that network, sshd, keys and sudo of NEW work. The work is
# done in a unit of its own, so that losing the connection now does no harm; asked again, it
# answers the same.
commit() { # NEW
    new=$1
    is_store_path "$new" || finish 64 refused reason "not a store path"
    use_attempt
    locked "$((bound + KILL_AFTER + 20))" # a commit that was sent before may hold it
    use_attempt
    end_by_boot "$id"
    case $(state "${id:-none}") in
    awaiting-confirm | committing)
        [ "$(get "$folder/new")" = "$new" ] || refuse_commit "the attempt is for another"
        is_of_this_boot "$id" || refuse_commit "the host has been rebooted since"
        [ "$(current)" = "$new" ] || [ "$mode" = boot ] ||
            refuse_commit "the host runs another system"
        ;;
    *)
        is_settled "$new" && finish 0 unchanged outcome unchanged toplevel "$new"
        [ "$(get "$folder/new")" != "$new" ] ||
            refuse_commit "its attempt has ended: $(state "$id"): $(get "$folder/reason")"
        refuse_commit "no attempt awaits a confirmation"
        ;;
    esac
    begin_commit
    unlocked
    # Waits for its end; another call that has begun it already makes it fail at once.
    is_loaded "flakeup-commit-$id.service" ||
        in_unit "flakeup-commit-$id" "settle $id" --service-type=oneshot \
            -p "TimeoutStartSec=$bound" -p "OnFailure=flakeup-uncommitted-$id.service" \
            -p KillSignal=SIGKILL 2>/dev/null
    now
    end=$((uptime + (bound + timeout + 60) * 100)) # what calls us cannot be cancelled
    while [ "$uptime" -lt "$end" ] && ! has_ended "$(state "$id")"; do
        sleep 0.2
        now
    done
    case $(state "$id") in
    committed)
        outcome=committed
        [ "$mode" = switch ] || outcome="committed, for the next start"
        finish 0 committed outcome "$outcome" toplevel "$new" generation "$(generation)"
        ;;
    *)
        trouble=$(get "$folder/trouble")
        finish 24 failed \
            reason "the commit failed: $(get "$folder/reason")${trouble:+; $trouble}" \
            state "$(state "$id")" current "$(current)"
        ;;
    esac
}

refuse_commit() { # WHY
    finish 31 refused reason "$1" current "$(current)" new "$new"
}

begin_commit() { # I2 again: the commit has a timer and an end of its own before it begins
    if [ "$(state "$id")" = awaiting-confirm ]; then
        arm "$id" uncommitted "$((bound + KILL_AFTER))" ||
            refuse_commit "systemd did not arm the timer of the commit"
        if ! enter "$id" committing; then
            disarm "$id" uncommitted
            refuse_commit "no room for the attempt's own files in $ETC"
        fi
    fi
}

# Boot entries are made from the profile's generations: `--set` first, then `boot`.
settle() { # ID
    locked 60
    folder=$ETC/attempts/$1
    [ "$(state "$1")" = committing ] || exit 0
    read_spec <"$folder/spec"
    old=$(get "$folder/old") new=$(get "$folder/new") code=0
    note touched yes || fail 24 "no room for the attempt's own files in $ETC"
    nix-env --profile "$PROFILE" --set "$new" 9>&- || fail 24 "nix-env could not set the profile"
    point_init "$new"
    logged "$new/bin/switch-to-configuration" boot
    [ "$code" = 0 ] ||
        fail 24 "the boot loader could not be installed: $(tail -n 3 "$folder/log" | one_line)"
    [ "$(profile)" = "$new" ] || fail 24 "the profile is not what it was set to"
    root last "$old"
    enter "$1" committed || fail 24 "no room for the attempt's own files in $ETC"
    unroot
    prune_generations
    # Last of all (I2): from here on nothing has to be brought back.
    disarm "$1" revert unconfirmed uncommitted
}

prune_generations() { # all but the newest `keep`, and the newest each of OLD and what was booted
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
            if [ "$count" -gt "$keep" ] && may_go "$system" "$seen"; then
                nix-env --profile "$PROFILE" --delete-generations "$number" 9>&-
            fi
            seen="$seen$system "
        done
    }
}

may_go() { # SYSTEM NEWER: it is neither OLD nor what was booted, or a newer generation is
    case $2 in *" $1 "*) return 0 ;; esac
    [ "$1" != "$old" ] && [ "$1" != "$booted" ]
}

