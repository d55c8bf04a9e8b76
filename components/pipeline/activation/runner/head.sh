# The runner: the only script of flakeup that runs on a host (design: docs/decisions/activation.md).
#
# It needs what every NixOS host has: sh, coreutils, util-linux' flock, systemd and nix (curl and
# bash for network checks). Nothing of it is in a closure, so it can roll back to any system.
#
#   observe              what the host runs, as one JSON line; read-only
#   start ID OLD|- NEW   claim the host, arm the rollback, launch the attempt; its spec on stdin
#   follow ID OFFSET     stream states and log as JSON lines until the attempt waits or ends
#   abort ID WHY         roll back an attempt that awaits confirmation
#   NEW                  commit: the confirmation, over its own connection
#   history              the recorded attempts, newest last, a JSON line each
# and, in transient units that PID 1 starts:
#   run ID               the attempt: activate, check, await
#   apply-commit ID      the work of the commit
#   rollback ID TRIGGER  the rollback to OLD; goes on until OLD runs
#
# Exit codes: 0 committed, unchanged or awaiting confirmation; 10 in progress; 11 closure absent;
# 20 rolled back: activation; 21 checks; 22 not confirmed; 23 reboot or crash; 24 boot loader;
# 30 blocked; 31 superseded, or another system than planned; 50 rollback failed; 64 usage;
# 75 locked by another deployment.
#
# Invariants, marked where they are kept:
#   I1 the boot default is OLD until the commit
#   I2 from before the first unit stops until the end, PID 1 has an armed timer that no reload moves
#   I3 one attempt per host; every verb is idempotent
#   I4 OLD and NEW are GC roots meanwhile; the last committed OLD stays one
#   I5 the log is a size-limited file on the host, never a pipe into ssh
#   I6 what is reported is what the host measures at the end
#   I7 a rollback that fails is tried again until OLD runs; what somebody else has decided is left
#   I8 notes and states are on the disk before they count
set -u
umask 077

ETC=/nix/var/flakeup # next to the store: a switch may mount something over /var
RUN=/run/flakeup
ROOTS=/nix/var/nix/gcroots/flakeup
PROFILE=/nix/var/nix/profiles/system
STORE_LIMIT=60 # seconds for an answer of nix's store
CHECK_LIMIT=60 # seconds for the pre-switch checks of a system
RESTART_LIMIT=90 # seconds for restarting one network unit in a rollback
START_LIMIT=15 # seconds for starting what OLD's activation needs: the bus and logind
ANSWER_LIMIT=5 # seconds for an answer of logind
FIRST_PAUSE=5 # seconds from a failed try of the rollback to the next; doubled each time
LONGEST_PAUSE=300 # seconds, from which on it is not doubled any more
TRIES_BEFORE_REBOOT=3 # failed tries of the rollback before the last resort, where the spec allows it
WARNINGS_SENT=10 # lines of the activation's own warnings
LOG_SENT=65536 # bytes of the log sent at once; of more, the last ones
LOG_KEPT=524288 # bytes kept of the log's beginning, and of its end
SPEC_LIMIT=1048576 # bytes; sixteen checks with long texts fit
KEPT_ATTEMPTS=50
RESTARTED_WITHIN=60 # seconds: a service restarted longer ago is not restarting
# Units that keep the host reachable: those active before are active after a rollback. Not the
# instances of single connections (sshd@…).
NETWORK_UNITS='^(ssh|sshd)[.-]|network|NetworkManager|dhcpcd|wpa_supplicant|iwd|firewall|nftables|iptables|tailscaled|wireguard|wg-quick|openvpn|resolved'
KILL_AFTER=5 # seconds from SIGTERM to SIGKILL for an activation that timed out
US=$(printf '\037') # between the fields of a check; the config allows no control characters

# /run/current-system changes during an attempt: the tools are those of the system that it started
# with, and its units get that PATH.
if [ -n "${FLAKEUP_PATH:-}" ]; then
    PATH=$FLAKEUP_PATH
else
    begun=$(readlink -e /run/current-system 2>/dev/null) || begun=
    PATH="${begun:+$begun/sw/bin:}/usr/sbin:/usr/bin:/sbin:/bin:$PATH:/run/current-system/sw/bin"
fi
LC_ALL=C
export PATH LC_ALL
BOOT_ID=$(cat /proc/sys/kernel/random/boot_id)

