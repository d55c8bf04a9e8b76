# The boot guard: a release that became the boot default before it ever ran (`mode: boot`) is rolled
# back if nobody confirms its first boot.
#
#   boot             at each boot: arm the rollback, or finish the one that the last boot started
#   confirm          the host is well: the release stays
#   revert ID        time is up: OLD becomes the boot default, and the machine reboots, once
#   watch            confirm as soon as the boot has finished without a failed unit
#   installed NEW    the boot loader was installed for NEW: make it start NEW only once, if it can
#   status           the state of the guard, in one line
#
# It goes by the attempt that flakeup's runner leaves in /nix/var/flakeup, and nothing else. It reads
# `current` and the attempt's `state`, `spec`, `old`, `new`, `boot-id`; it writes `guard`,
# `guard-boot` and `guard-once` next to them and, in a rollback, what the runner itself would have
# written: `state`, `reason`, `exit`. If nothing is staged it does nothing.
#
# `guard` is one word: once (the boot loader starts NEW a single time), armed, confirmed,
# rolling-back (OLD is the default, and the machine reboots), rolled-back (it runs OLD),
# rollback-failed (it does not).
set -u
umask 077

ROOT=${FLAKEUP_GUARD_ROOT:-} # of a test's host
LIMIT=${FLAKEUP_GUARD_LIMIT:-10m}
CONFIRM=${FLAKEUP_GUARD_CONFIRM:-command}
BOOT=${FLAKEUP_GUARD_BOOT:-} # the folder of systemd-boot's entries, if that is the boot loader
MOUNTS=${FLAKEUP_GUARD_MOUNTS:-} # the file systems that the boot loader is on
ETC=$ROOT/nix/var/flakeup
RUN=$ROOT/run/flakeup
PROFILE=$ROOT/nix/var/nix/profiles/system
BOOT_LIMIT=300 # seconds for installing the boot loader
MOUNT_LIMIT=100 # seconds for a file system: systemd waits 90 for a disk
BOOT_ID=$(cat "$ROOT/proc/sys/kernel/random/boot_id")

say() { printf '%s\n' "$1"; }
complain() { printf '%s\n' "$1" >&2; }
get() { cat "$1" 2>/dev/null || true; }
put() { # FILE TEXT: atomically, as the runner does
    printf '%s\n' "$2" >"$1.tmp" && sync "$1.tmp" && mv -f "$1.tmp" "$1"
}

lock() { # the runner's own lock: every change of state is made under it
    mkdir -p "$RUN"
    exec 9>"$RUN/lock"
    flock -w 120 9 || {
        complain "another flakeup call holds the lock"
        exit 75
    }
}

load_attempt() { # the attempt that holds the host: `id`, `folder`, `old`, `new`
    id=$(readlink "$ETC/current" 2>/dev/null) || id=
    id=${id##*/}
    folder=$ETC/attempts/${id:-none}
    old=$(get "$folder/old")
    new=$(get "$folder/new")
    booted=$(readlink -e "$ROOT/run/booted-system" 2>/dev/null) || booted=
}

word() { get "$folder/guard"; }
enter() { put "$folder/guard" "$1"; } # WORD

is_staged() { # committed in an earlier boot, to run after the next one
    [ -n "$id" ] && grep -qx 'mode boot' "$folder/spec" 2>/dev/null || return 1
    case $(get "$folder/state") in
    committed | rolling-back) ;;
    *) return 1 ;;
    esac
    [ -n "$booted" ] && [ "$(get "$folder/boot-id")" != "$BOOT_ID" ]
}

is_armed_in_this_boot() { [ "$(get "$folder/guard-boot")" = "$BOOT_ID" ]; }

# --- at boot ------------------------------------------------------------------------------

boot() {
    lock
    load_attempt
    is_staged || return 0
    case $(word):$booted in
    confirmed:* | rolled-back:* | rollback-failed:*) ;;
    rolling-back:"$old") end_rollback ;;
    rolling-back:*) fail_rollback "OLD was made the boot default, and the machine started $booted" ;;
    armed:"$new")
        # It went down before anybody confirmed it. Without this, a system that crashes early would
        # start again forever.
        if is_armed_in_this_boot; then
            start_timer # lost where systemd has restarted itself (soft-reboot)
        else
            roll_back "the host went down before its first boot was confirmed"
        fi
        ;;
    armed:"$old" | once:"$old") # the boot loader fell back by itself
        begin_rollback "the new system did not come up, and the boot loader started the old one"
        if make_default "$old"; then
            end_rollback
        else
            fail_rollback "the boot loader could not be restored"
        fi
        ;;
    :"$new" | once:"$new") arm ;;
    *) ;; # somebody chose another system from the boot menu: theirs to decide
    esac
}

arm() {
    if [ "$old" = "$new" ] || [ ! -x "$old/bin/switch-to-configuration" ]; then
        complain "$new runs for the first time, and there is no system to roll back to: $old"
        return 0
    fi
    put "$folder/guard-boot" "$BOOT_ID" && enter armed && start_timer || return 1
    say "$new runs for the first time: confirm it within $LIMIT with 'flakeup-boot-guard confirm'"
    [ "$CONFIRM" != healthy ] ||
        systemd-run --quiet --collect --no-block --unit=flakeup-boot-watch -- "$(self)" watch
}

# A timer of PID 1 that depends on no unit of the system that it guards. Measured with systemd 257:
# - with default dependencies it waits for sysinit.target, and so does systemd-run: a boot that hangs
#   before that (a file system, udev, a key for a disk) had no timer;
# - OnActiveSec= begins again at each daemon-reload (systemd#31914), OnStartupSec= counts from the
#   start of PID 1: of 40 timers, none was lost or late while somebody reloaded without a pause;
# - `systemctl isolate`, as into the emergency mode of a file system that is missing, stops a timer
#   that does not ignore it.
start_timer() {
    [ ! -e "$ROOT/run/systemd/transient/flakeup-boot-revert.timer" ] || return 0
    systemd-run --quiet --collect --unit=flakeup-boot-revert --on-startup="$LIMIT" \
        --timer-property=AccuracySec=1s --timer-property=IgnoreOnIsolate=yes \
        --timer-property=DefaultDependencies=no --timer-property=Conflicts=shutdown.target \
        -p IgnoreOnIsolate=yes -p DefaultDependencies=no -p Conflicts=shutdown.target \
        -p Restart=on-failure -p RestartSec=5 \
        -p StartLimitIntervalSec=3600 -p StartLimitBurst=3 \
        -- "$(self)" revert "$id" || {
        complain "systemd did not start the rollback timer"
        return 1
    }
}

self() { readlink -f "$0"; } # by its store path: the guarded system may be switched

# --- the outcomes -------------------------------------------------------------------------

confirm() {
    lock
    load_attempt
    case $(word) in
    armed)
        is_armed_in_this_boot || {
            complain "the guard was armed in an earlier boot: $new is not confirmed"
            exit 1
        }
        end_confirmed
        ;;
    rolling-back | rolled-back | rollback-failed)
        complain "too late: $(get "$folder/reason")"
        exit 1
        ;;
    confirmed) say "$new is already confirmed" ;;
    *) # the confirmation may come before the guard has started
        if is_staged && [ "$booted" = "$new" ]; then
            end_confirmed
        else
            say "nothing awaits confirmation"
        fi
        ;;
    esac
}

end_confirmed() {
    # A boot loader that starts it only once has to be told to keep it.
    if [ -e "$folder/guard-once" ] && [ "$(profile)" = "$new" ]; then
        make_default "$new" || {
            complain "the boot loader could not be installed: $new is not confirmed"
            exit 1
        }
    fi
    enter confirmed || exit 1
    systemctl stop flakeup-boot-revert.timer 2>/dev/null || true
    say "confirmed: $new"
}

watch() {
    state=$(systemctl is-system-running --wait 2>/dev/null) || true
    if [ "$state" != running ]; then
        complain "the boot finished as $state: it is not confirmed"
        exit 1
    fi
    confirm
}

revert() { # ID
    lock
    load_attempt
    if [ "$id" != "$1" ]; then
        # A deployment has started in this boot: ssh and sudo work.
        folder=$ETC/attempts/$1
        new=$(get "$folder/new")
        [ "$(word)" != armed ] || end_confirmed
        exit 0
    fi
    case $(word) in
    armed | rolling-back) # an interrupted rollback continues
        ! is_armed_in_this_boot || roll_back "its first boot was not confirmed in time"
        ;;
    esac
}

roll_back() { # WHY
    begin_rollback "$1"
    if ! make_default "$old"; then
        # Rebooting would start NEW again.
        fail_rollback "the boot loader could not be restored"
    fi
    sync
    say "rebooting into $old"
    systemctl reboot
}

begin_rollback() { # WHY
    complain "rolling back from $new: $1"
    [ -e "$folder/reason" ] || printf '%s\n' "$1" >"$folder/reason"
    printf '%s\n' 22 >"$folder/exit"
    enter rolling-back && put "$folder/state" rolling-back || exit 1
}

end_rollback() {
    put "$folder/state" rolled-back && enter rolled-back || exit 1
    rm -f "$folder/guard-once"
    say "rolled back to $old: $(get "$folder/reason")"
}

fail_rollback() { # WHY: the unit fails, so that it is noticed; there is never a second reboot
    printf '%s\n' "$1" >"$folder/trouble"
    printf '%s\n' 50 >"$folder/exit"
    put "$folder/state" rollback-failed && enter rollback-failed
    complain "rollback failed: $1"
    exit 1
}

# --- the boot default ---------------------------------------------------------------------

profile() { readlink -e "$PROFILE" 2>/dev/null || true; }

generation_of() { # SYSTEM: the newest generation of it
    for link in "$PROFILE"-[0-9]*-link; do
        [ "$(readlink -e "$link" 2>/dev/null)" = "$1" ] || continue
        number=${link#"$PROFILE"-}
        printf '%s\n' "${number%-link}"
    done | sort -n | tail -n 1
}

make_default() { # SYSTEM: the profile first, since boot entries are made from its generations
    number=$(generation_of "$1")
    if [ -n "$number" ]; then
        nix-env --profile "$PROFILE" --switch-generation "$number" 9>&-
    else
        nix-env --profile "$PROFILE" --set "$1" 9>&-
    fi || return 1
    mount_boot_files
    NIXOS_NO_CHECK=1 timeout --kill-after=5 "$BOOT_LIMIT" \
        "$1/bin/switch-to-configuration" boot 9>&- || return 1
    [ "$(profile)" = "$1" ]
}

mount_boot_files() { # the guard does not wait for them when it starts
    for place in $MOUNTS; do
        timeout "$MOUNT_LIMIT" systemctl start "$(systemd-escape --path --suffix=mount "$place")" ||
            complain "$place is not mounted"
    done
}

# --- systemd-boot: NEW is started once, while OLD stays the default -------------------------

installed() { # NEW; called in the runner's commit, which holds the lock
    load_attempt
    [ -n "$BOOT" ] && [ "$1" = "$new" ] && [ "$1" != "$booted" ] || return 0
    [ "$(get "$folder/state")" = committing ] && grep -qx 'mode boot' "$folder/spec" || return 0
    [ "$(get "$folder/boot-id")" = "$BOOT_ID" ] || return 0
    # With boot counting, systemd-boot falls back by itself.
    ! grep -q '^preferred' "$BOOT/loader/loader.conf" || return 0
    entry_new=$(entry_of "$new") entry_old=$(entry_of "$old")
    [ -n "$entry_new" ] && [ -n "$entry_old" ] || return 0
    # If this fails, NEW stays the default, and only the timer guards it.
    bootctl --esp-path="$BOOT" set-oneshot "$entry_new" || return 0
    sed "s/^default .*/default $entry_old/" "$BOOT/loader/loader.conf" >"$BOOT/loader/loader.tmp" &&
        sync "$BOOT/loader/loader.tmp" &&
        mv -f "$BOOT/loader/loader.tmp" "$BOOT/loader/loader.conf" || return 0
    put "$folder/guard-once" "$entry_new"
    enter once
}

entry_of() { # SYSTEM: its boot entry, however NixOS names it
    grep -lF "init=$1/init" "$BOOT"/loader/entries/*.conf 2>/dev/null | while read -r entry; do
        printf '%s\n' "${entry##*/}"
    done | sort | tail -n 1
}

status() {
    load_attempt
    say "${id:-no attempt}: $(get "$folder/state"), guard: $(word)"
}

case ${1:-} in
boot | confirm | watch | status) "$1" ;;
revert | installed) [ $# -eq 2 ] && "$@" ;;
*)
    complain "usage: flakeup-boot-guard confirm | status"
    exit 64
    ;;
esac
