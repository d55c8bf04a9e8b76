#!/bin/sh
# The activation script: applies $OUT to the running host, without its units. Like the real one, it runs
# all steps even if one fails, and then exits with 1.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin${PATH:+:$PATH}
export PATH
status=0
units=/run/systemd/system # Debian keeps its own units in /etc/systemd/system
[ -z "$SWITCH_PROGRAM" ] || units=/etc/systemd/system # NixOS's own program looks there

# Replace a link atomically: create it under another name, then rename it.
link() { # TARGET NAME
    [ "$(readlink "$2" || :)" = "$1" ] && return
    rm -rf "$2.new"
    ln -s "$1" "$2.new"
    mv -T "$2.new" "$2"
}

# A reboot must not start units of the system that ran before: a copy of Debian's links covers the
# folder until then. Debian's own units move, as NixOS's program would take them for removed ones. What
# activates the boot default is for the boot alone, and not for each start of multi-user.target.
cover_units() {
    if mountpoint -q "$units"; then return; fi
    cp -a "$units" /run/fake/units
    for path in /run/fake/units/*.service; do
        if [ -f "$path" ] && [ ! -L "$path" ]; then mv "$path" /run/systemd/system/; fi
    done
    rm -f /run/fake/units/multi-user.target.wants/nixos-boot.service
    mount --bind /run/fake/units "$units"
}

# /etc/static points into the system; its files are linked one by one, and links to files that it no
# longer has are removed. Links that do not point there are not ours.
link_units() {
    link "$(readlink -f "$OUT/etc")" /etc/static || status=1
    for path in "$OUT"/etc/systemd/system/* "$OUT"/etc/systemd/system/*.wants/* \
        "$OUT"/etc/systemd/system/*.d/*; do
        [ -L "$path" ] || continue
        relative=${path#"$OUT/etc/systemd/system/"}
        case $relative in */*) mkdir -p "$units/${relative%/*}" ;; esac
        link "/etc/static/systemd/system/$relative" "$units/$relative" || status=1
    done
    for path in "$units"/* "$units"/*/*; do
        if [ ! -L "$path" ] || [ -e "$path" ]; then continue; fi
        case $(readlink "$path") in /etc/static/*) rm -f "$path" ;; esac
    done
}

fault() { [ -e "$OUT/faults/$1" ]; }
parameter() { cat "$OUT/faults/$1"; }

# What a fault removes is kept next to it, so that a system without the fault can restore it.
take() { [ -e "$1.taken" ] || [ ! -e "$1" ] || mv "$1" "$1.taken"; }
give_back() { [ ! -e "$1.taken" ] || mv -f "$1.taken" "$1"; }

set_up_sshd() {
    key=/etc/ssh/ssh_host_ed25519_key
    config=/etc/ssh/sshd_config.d/system.conf # another file of the folder names the host key
    before=$(cat "$config" "$key" 2> /dev/null || :)
    wanted=
    ! fault sshd-port || wanted="Port $(parameter sshd-port)"
    ! fault sshd-invalid || wanted="PermitEverything yes"
    if [ -n "$wanted" ]; then printf '%s\n' "$wanted" > "$config"; else rm -f "$config"; fi
    if ! fault sshd-host-key; then
        give_back "$key"
    elif [ ! -e "$key.taken" ]; then
        take "$key"
        ssh-keygen -q -t ed25519 -N '' -f "$key" && rm -f "$key.pub"
    fi
    for keys in /root/.ssh/authorized_keys /home/deploy/.ssh/authorized_keys; do
        if fault sshd-keys; then take "$keys"; else give_back "$keys"; fi
    done
    # Whether sshd accepts it shows when systemd starts the unit.
    [ "$before" = "$(cat "$config" "$key" 2> /dev/null || :)" ] ||
        systemctl restart ssh.service || :
}

# The next system undoes what this one does to the network, by the commands in this file.
set_up_network() {
    undo=/run/fake/network
    if [ -s "$undo" ]; then
        sh "$undo" || :
        rm -f "$undo"
    fi
    if fault net-blackhole; then
        address=$(parameter net-blackhole)
        ip route add blackhole "$address" || return 1
        echo "ip route del blackhole $address" >> "$undo"
    fi
    if fault net-drop; then
        # Before the rule for local addresses, which has to move.
        interface=$(parameter net-drop)
        ip rule add pref 9 lookup local || return 1
        echo "ip rule add pref 0 lookup local; ip rule del pref 9" >> "$undo"
        ip rule del pref 0 lookup local || return 1
        ip rule add pref 1 iif "$interface" blackhole || return 1
        echo "ip rule del pref 1" >> "$undo"
    fi
    if fault net-link-down; then
        interface=$(parameter net-link-down)
        ip link set "$interface" down || return 1
        echo "ip link set $interface up" >> "$undo"
    fi
}

# What the switch needs of the host besides its units, and what asks it for more.
set_up_services() {
    mask=$units/systemd-logind.service
    if fault stops-logind; then
        ln -sf /dev/null "$mask"
        systemctl daemon-reload
        systemctl stop systemd-logind.service
    else
        rm -f "$mask"
    fi
    if fault freezes-logind; then
        parameter freezes-logind > /run/fake/patience
        systemctl kill --kill-whom=main --signal=STOP systemd-logind.service
    fi
    if fault stops-dbus && [ "$(parameter stops-dbus)" = activate ]; then
        systemctl stop dbus.service dbus.socket
    fi
    for kind in restart reload; do
        if fault "$kind-list"; then
            parameter "$kind-list" | tr ' ' '\n' > "/run/nixos/activation-$kind-list"
        fi
    done
}

mkdir -p /run/fake /run/nixos /run/systemd/system
[ -z "$SWITCH_PROGRAM" ] || cover_units || status=1
link_units || status=1
[ "$ACTIVATION_SECONDS" = 0 ] || sleep "$ACTIVATION_SECONDS"

if fault activate-floods; then
    yes "$(printf 'a very long line of output \033[31m with control characters \007')" |
        head -c "$(parameter activate-floods)M"
fi
if fault activate-eats; then
    eaten=x
    while [ "${#eaten}" -lt "$(parameter activate-eats)000000" ]; do eaten=$eaten$eaten; done
fi
if fault activate-fails; then
    echo "cannot create the directory /var/lib/app: read-only file system" >&2
    status=1
fi
if fault snippet-fails; then
    printf "Activation script snippet '%s' failed (1)\n" "$(parameter snippet-fails)"
    status=1
fi
if fault activate-hangs; then
    trap '' TERM
    while :; do sleep 1; done
fi
if fault sshd-stopped; then
    systemctl stop ssh.socket 2> /dev/null || : # if sshd is socket-activated
    systemctl stop ssh.service || status=1
fi
set_up_sshd || status=1
set_up_network || status=1
set_up_services || status=1
! fault points-init || link "$OUT/$(parameter points-init)" /sbin/init || status=1

link "$OUT" /run/current-system || status=1
# Protect the running system from garbage collection.
link /run/current-system /nix/var/nix/gcroots/current-system || status=1
exit "$status"
