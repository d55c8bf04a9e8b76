
# --- units of an attempt ------------------------------------------------------------------

# Runs a verb of the attempt's own copy of the runner as a unit, with the shell and the tools that the
# attempt started with: an activation changes /bin/sh, and a rollback must need nothing of NEW. No
# target can stop it (`systemctl isolate`), and it waits for none.
start_unit() { # UNIT "VERB ID..." OPTION...
    unit=$1 verb=$2
    shift 2
    # shellcheck disable=SC2086 # verb, id and trigger hold neither blanks nor wildcards
    systemd-run --quiet --unit="$unit" --collect --service-type=exec \
        -p "StandardOutput=append:$folder/log" -p "StandardError=append:$folder/log" \
        -p KillMode=control-group -p TimeoutStopSec=20 -E "FLAKEUP_PATH=$(get "$folder/path")" \
        -p IgnoreOnIsolate=yes -p DefaultDependencies=no -p Conflicts=shutdown.target \
        "$@" -- "$(get "$folder/shell")" "$folder/runner" $verb 9>&-
}

# I2: PID 1's timer at a point of its own monotonic clock: clock jumps do not matter, and neither do
# reloads, each of which would begin an OnActiveSec= from its start (systemd#31914). The default
# accuracy is a minute. A rollback that is killed is started again.
arm() { # ID TRIGGER SECONDS
    read_manager_clock
    start_unit "flakeup-$2-$1" "rollback $1 $2" --on-startup="$((manager_clock + $3 * 100))0ms" \
        --timer-property=AccuracySec=1s --timer-property=IgnoreOnIsolate=yes \
        --timer-property=DefaultDependencies=no --timer-property=Conflicts=shutdown.target \
        -p Restart=on-failure -p "RestartForceExitStatus=SIGTERM SIGHUP SIGINT SIGPIPE" \
        -p RestartSec=1 -p StartLimitIntervalSec=0 && is_loaded "flakeup-$2-$1.timer"
}

# Whether a transient unit exists; `systemd-run` has waited for its start. Asking PID 1 again would
# wait for all the units that a switch starts.
is_loaded() { [ -e "/run/systemd/transient/$1" ]; } # UNIT

disarm() { # ID TRIGGER...; once, at the end: a trigger of an earlier phase does nothing
    disarmed=$1
    shift
    for trigger in "$@"; do
        set -- "$@" "flakeup-$trigger-$disarmed.timer"
        shift
    done
    systemctl stop "$@" 2>/dev/null || true # some may not exist
}

release_guard() { # ID; once an attempt has ended
    disarm "$1" revert unconfirmed uncommitted
    remove_resume_unit "$1"
}

# --- PID 1's clock ------------------------------------------------------------------------

# Where PID 1's clock began, in µs of the monotonic clock; a re-execution keeps it, and a soft-reboot
# does not.
userspace_start() { systemctl show --property=UserspaceTimestampMonotonic --value 2>/dev/null; }

# /proc/uptime is the monotonic clock, unless lxcfs shows a container its own.
note_manager_clock() { # fails if PID 1 does not answer
    base=$(userspace_start)
    [ -n "$base" ] || return
    note userspace "$base"
    base=$((base / 10000))
    ! grep -q ' /proc/uptime ' /proc/self/mountinfo || base=0
    note clock-base "$base"
}

read_manager_clock() { # sets `manager_clock`: hundredths of a second since PID 1's clock began
    read_uptime
    base=$(get "$folder/clock-base")
    manager_clock=$((uptime - ${base:-0}))
}

# A host that slept has two clocks that differ: what counts is when PID 1 started the first timer.
is_on_time() { # ID; `manager_clock` as `arm` has left it
    armed=$(systemctl show --property=ActiveEnterTimestampMonotonic --value \
        "flakeup-revert-$1.timer" 2>/dev/null)
    [ -n "$armed" ] || return 0
    late=$((manager_clock - (armed - $(get "$folder/userspace")) / 10000))
    [ "$late" -gt -100 ] && [ "$late" -lt 100 ] && return
    note clock-base "$(($(get "$folder/clock-base") + late))"
    return 1
}

# --- soft-reboot --------------------------------------------------------------------------

# A soft-reboot ends every process and every transient unit, and NEW keeps running: /run stays. So an
# attempt has a unit file there that begins its rollback early in the next userspace. Until then the
# attempt's first timer is loaded, and a switch that starts all wanted units does not start it.
write_resume_unit() { # ID
    wants=/run/systemd/system/sysinit.target.wants name=flakeup-resume-$1.service
    mkdir -p "$wants" && cat >"/run/systemd/system/$name" <<END && ln -sfn "../$name" "$wants/$name"
[Unit]
Description=Roll back an unconfirmed system after a soft-reboot
DefaultDependencies=no
IgnoreOnIsolate=yes
Conflicts=shutdown.target
Before=shutdown.target
RequiresMountsFor=$ETC
StartLimitIntervalSec=0
ConditionPathExists=!/run/systemd/transient/flakeup-revert-$1.timer

[Service]
Type=exec
ExecStart=$(get "$folder/shell") $folder/runner rollback $1 resumed
Environment="FLAKEUP_PATH=$(get "$folder/path" | sed 's/%/%%/g')"
StandardOutput=append:$folder/log
StandardError=append:$folder/log
Restart=on-failure
RestartForceExitStatus=SIGTERM SIGHUP SIGINT SIGPIPE
RestartSec=1
END
}

remove_resume_unit() { # ID
    rm -f "/run/systemd/system/flakeup-resume-$1.service" \
        "/run/systemd/system/sysinit.target.wants/flakeup-resume-$1.service"
}

is_soft_rebooted() { [ "$(userspace_start)" != "$(get "$folder/userspace")" ]; }
