# --- units of an attempt ------------------------------------------------------------------

# A verb of this attempt's own runner, run by PID 1, with the shell and the tools that the attempt
# began with: what /bin/sh leads to is changed by an activation, and the way back needs nothing of NEW.
in_unit() { # UNIT "VERB ID..." OPTION...
    unit=$1 verb=$2
    shift 2
    # shellcheck disable=SC2086 # verb, id and trigger hold neither blanks nor wildcards
    systemd-run --quiet --unit="$unit" --collect --service-type=exec \
        -p "StandardOutput=append:$folder/log" -p "StandardError=append:$folder/log" \
        -p KillMode=control-group -p TimeoutStopSec=20 -E "FLAKEUP_PATH=$(get "$folder/path")" \
        "$@" -- "$(get "$folder/shell")" "$folder/runner" $verb 9>&-
}

# I2: a timer of PID 1, monotonic, so that a clock that jumps doesn't matter. The default accuracy
# is a minute. A way back that is killed itself is begun again.
arm() { # ID TRIGGER SECONDS
    in_unit "flakeup-$2-$1" "back $1 $2" --on-active="$3" --timer-property=AccuracySec=1s \
        -p Restart=on-failure -p RestartSec=1 \
        -p StartLimitIntervalSec=600 -p StartLimitBurst=5 && is_loaded "flakeup-$2-$1.timer"
}

# What PID 1 has made of a transient unit; `systemd-run` has waited until it was started. Another
# question to PID 1 costs as much as a switch has units to start.
is_loaded() { [ -e "/run/systemd/transient/$1" ]; } # UNIT

disarm() { # ID TRIGGER...; once, at the end: a trigger of a phase that is over does nothing
    id=$1
    shift
    for trigger in "$@"; do
        set -- "$@" "flakeup-$trigger-$id.timer"
        shift
    done
    systemctl stop "$@" 2>/dev/null || true # those that are not there
}

