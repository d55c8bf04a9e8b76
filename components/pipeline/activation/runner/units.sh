# --- units of an attempt ------------------------------------------------------------------

# Runs a verb of the attempt's own copy of the runner as a unit, with the shell and the tools that the
# attempt started with: an activation changes /bin/sh, and a rollback must need nothing of NEW.
start_unit() { # UNIT "VERB ID..." OPTION...
    unit=$1 verb=$2
    shift 2
    # shellcheck disable=SC2086 # verb, id and trigger hold neither blanks nor wildcards
    systemd-run --quiet --unit="$unit" --collect --service-type=exec \
        -p "StandardOutput=append:$folder/log" -p "StandardError=append:$folder/log" \
        -p KillMode=control-group -p TimeoutStopSec=20 -E "FLAKEUP_PATH=$(get "$folder/path")" \
        "$@" -- "$(get "$folder/shell")" "$folder/runner" $verb 9>&-
}

# I2: a monotonic timer of PID 1, so that clock jumps do not matter. The default accuracy is a minute.
# A rollback that is killed is started again.
arm() { # ID TRIGGER SECONDS
    start_unit "flakeup-$2-$1" "rollback $1 $2" --on-active="$3" --timer-property=AccuracySec=1s \
        -p Restart=on-failure -p RestartSec=1 \
        -p StartLimitIntervalSec=600 -p StartLimitBurst=5 && is_loaded "flakeup-$2-$1.timer"
}

# Whether a transient unit exists; `systemd-run` has waited for its start. Asking PID 1 again would
# wait for all the units that a switch starts.
is_loaded() { [ -e "/run/systemd/transient/$1" ]; } # UNIT

disarm() { # ID TRIGGER...; once, at the end: a trigger of an earlier phase does nothing
    id=$1
    shift
    for trigger in "$@"; do
        set -- "$@" "flakeup-$trigger-$id.timer"
        shift
    done
    systemctl stop "$@" 2>/dev/null || true # some may not exist
}

