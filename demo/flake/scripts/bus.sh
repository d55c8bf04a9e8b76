# The system bus and logind, which the real program asks for all that it does. It has one connection to
# the bus for all its run, and ends where that breaks. Sourced by switch-to-configuration.sh.
# shellcheck shell=sh

# Seconds that a call waits for its answer. The faults shorten it, until the host has a logind again.
patience() { cat /run/fake/patience 2> /dev/null || echo 25; }

call_bus() { # DESTINATION PATH INTERFACE METHOD
    run busctl --system --timeout="$(patience)" call "$@" 2>&1
}

# Each start of a unit has an id, which systemd links here while the unit is up.
bus_id() { readlink /run/systemd/units/invocation:dbus.service || :; }

open_bus() {
    answer=$(call_bus org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus GetId) ||
        lose_bus "Failed to open dbus connection" "$answer"
    bus=$(bus_id)
}

require_bus() { # MESSAGE
    [ "$(bus_id)" = "$bus" ] || lose_bus "$1" "connection lost"
}

lose_bus() { # MESSAGE CAUSE
    printf 'Error: %s\n\nCaused by:\n    %s\n' "$1" "$2" >&2
    exit 1
}

# The units of users are reloaded by a process for each user that is logged in; here only its failure.
activate_users() {
    if ! answer=$(call_bus org.freedesktop.login1 /org/freedesktop/login1 \
        org.freedesktop.login1.Manager ListUsers); then
        say "Unable to list users with logind: $answer"
        exit 11 # EAGAIN: the real one ends with the last errno of the call
    fi
    rm -f /run/fake/patience
    require_bus "Failed to process dbus messages"
    if fault user-activation-fails; then
        user=$(parameter user-activation-fails)
        say "reloading user units for $user..."
        say "warning: user activation for $user failed"
        return 1
    fi
}
