# The runner: the one script of flakeup that runs on a host (design: docs/decisions.md).
#
# It needs what every NixOS host has: sh, coreutils, util-linux' flock, systemd and nix (and curl
# and bash for health checks over the network); nothing of it is in a closure, so the way back
# works towards any system, whoever deployed it.
#
#   observe              what the host runs, as one JSON line; reads only
#   start ID OLD|- NEW   take the host, arm the way back, launch the attempt; its spec on stdin
#   follow ID OFFSET     stream states and log as JSON lines until it rests
#   abort ID WHY         give up an attempt that awaits confirmation
#   NEW                  commit: the confirmation, over a connection of its own
#   history              the attempts that are remembered, newest last, a JSON line each
# and, in units of their own that PID 1 starts:
#   run ID               the attempt: activate, check, await
#   settle ID            the commit's work
#   back ID TRIGGER      the way back to OLD
#
# Exit codes: 0 committed, unchanged or awaiting confirmation; 10 in progress; 11 closure absent;
# 20 rolled back: activation; 21 checks; 22 not confirmed; 23 reboot or crash; 24 boot loader;
# 30 blocked; 31 superseded, or another system than planned; 50 rollback failed; 64 usage;
# 75 held by somebody else.
#
# Invariants, marked where they are kept:
#   I1 the boot default is OLD until the commit
#   I2 from before the first unit is stopped until the end, PID 1 holds an armed timer
#   I3 one attempt a host; each verb can be repeated with the same result
#   I4 OLD and NEW are GC roots meanwhile; the last committed OLD stays one
#   I5 the log is a file on the host, capped, never a pipe into ssh
#   I6 what is reported is what the host says at the end
set -u
umask 077

ETC=/nix/var/flakeup # beside the store: a switch may mount something over /var
RUN=/run/flakeup
ROOTS=/nix/var/nix/gcroots/flakeup
PROFILE=/nix/var/nix/profiles/system
CHECK_LIMIT=60 # seconds for what a system checks before it is switched to
RESTART_LIMIT=90 # seconds for one unit of the network to start again on the way back
LOG_SENT=65536 # bytes of the log sent at a look: of a flood, its end
LOG_KEPT=524288 # bytes of the log kept on disk: so many of its beginning, and of its end
SPEC_LIMIT=1048576 # bytes; sixteen checks with long texts fit
REMEMBERED=50 # attempts
RESTLESS_FOR=60 # seconds since systemd has started a restless service again
# Units that let people in: those that were active before are active after a way back.
# Not a connection's own instance (sshd@…).
NETWORK_UNITS='^(ssh|sshd)[.-]|network|NetworkManager|dhcpcd|wpa_supplicant|iwd|firewall|nftables|iptables|tailscaled|wireguard|wg-quick|openvpn|resolved'
KILL_AFTER=5 # seconds from SIGTERM to SIGKILL for an activation over its time
US=$(printf '\037') # between the fields of a check: the config lets no control character in

# /run/current-system changes under us: the tools are those of the system that the attempt began
# with, and its units are told which they are.
if [ -n "${FLAKEUP_PATH:-}" ]; then
    PATH=$FLAKEUP_PATH
else
    begun=$(readlink -e /run/current-system 2>/dev/null) || begun=
    PATH="${begun:+$begun/sw/bin:}/usr/sbin:/usr/bin:/sbin:/bin:$PATH:/run/current-system/sw/bin"
fi
LC_ALL=C
export PATH LC_ALL
BOOT_ID=$(cat /proc/sys/kernel/random/boot_id)

