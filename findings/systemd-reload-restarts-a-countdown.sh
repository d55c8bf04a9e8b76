#!/bin/bash
# systemd 257.13 (Debian 257.13-1~deb13u1): a `daemon-reload` restarts the countdown of a running timer with
# OnActiveSec=, the one that `systemd-run --on-active=` makes. Timers are kept over a reload, so one guesses
# that their deadline is, too; but the time "when the timer was activated" is the moment of the reload.
# Whoever reloads more often than the timer's span keeps it from ever firing. A timer with OnStartupSec=
# (`--on-startup=`) is as transient and counts from the start of the manager: it does not move.
#
# Seen: both timers are due in 6 s, and systemd is reloaded each second. After 12 s the second one has
# fired and the first one has not; it fires once the reloads end.
# Upstream: systemd issue 31914, open when this was written.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/debian.sh
. "$(dirname "$0")/lib/debian.sh"
begin "$@"
unpack systemd=257.13-1~deb13u1 dash coreutils
boot

# In seconds since systemd started, which is what --on-startup= counts from.
started=$(inside systemctl show --property=UserspaceTimestampMonotonic --value)
now=$(cut -d ' ' -f 1 /proc/uptime | tr -d .)
due=$((now / 100 - started / 1000000 + 6))
arm() { # NAME OPTION
    inside systemd-run --quiet --unit="$1" "$2" --timer-property=AccuracySec=100ms \
        --timer-property=DefaultDependencies=no -p DefaultDependencies=no -- touch "/run/$1.fired"
}
arm active --on-active=6
arm startup --on-startup="$due"

fired() { if inside test -e "/run/$1.fired"; then echo yes; else echo no; fi; }
for _ in $(seq 12); do
    sleep 1
    inside systemctl daemon-reload
done
report "OnActiveSec=6s, reloaded each second for 12 s: fired" no "$(fired active)"
report "OnStartupSec= of the same moment: fired" yes "$(fired startup)"
sleep 8
report "OnActiveSec=6s, 8 s after the last reload: fired" yes "$(fired active)"
exit "$changed"
