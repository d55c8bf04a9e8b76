# --- units of an attempt ------------------------------------------------------------------

# The shell by its own path: what /bin/sh leads to is changed by an activation, and the way back
# needs nothing of NEW.
shell=$(readlink -f /bin/sh)

in_unit() { # UNIT "VERB ID..." OPTION...: a verb of this attempt's own runner, run by PID 1
    unit=$1 verb=$2
    shift 2
    # shellcheck disable=SC2086 # verb, id and trigger hold neither blanks nor wildcards
    systemd-run --quiet --unit="$unit" --collect --service-type=exec \
        -p "StandardOutput=append:$folder/log" -p "StandardError=append:$folder/log" \
        -p KillMode=control-group -p TimeoutStopSec=20 \
        "$@" -- "$shell" "$folder/runner" $verb 9>&-
}

# I2: a timer of PID 1, monotonic, so that a clock that jumps doesn't matter. The default accuracy
# is a minute. A way back that is killed itself is begun again.
arm() { # ID TRIGGER SECONDS
    in_unit "flakeup-$2-$1" "back $1 $2" --on-active="$3" --timer-property=AccuracySec=1s \
        -p Restart=on-failure -p RestartSec=1 \
        -p StartLimitIntervalSec=600 -p StartLimitBurst=5 &&
        systemctl is-active --quiet "flakeup-$2-$1.timer"
}

disarm() { # ID TRIGGER...
    id=$1
    shift
    for trigger in "$@"; do
        set -- "$@" "flakeup-$trigger-$id.timer"
        shift
    done
    systemctl stop "$@" 2>/dev/null || true # those that are not there
}

