# shellcheck shell=bash
# For the scripts next to this folder: Debian packages of exact versions, unpacked in a temporary folder
# and run there, in namespaces of their own. Needs Linux, root, apt, unshare and nsenter; the mirror is
# the one that this machine uses. Nothing is installed, and nothing is left.

SUITE=trixie

# Runs the script again in a mount namespace of its own, makes `$tmp`, and cleans up at its end.
begin() { # the script's arguments
    if [ -z "${FINDING_NAMESPACE:-}" ]; then
        FINDING_NAMESPACE=1 exec unshare --mount --propagation private -- "$0" "$@"
    fi
    tmp=$(mktemp -d) init=
    trap end EXIT
    root=$tmp/root
    mkdir -p "$root" "$tmp/lists/partial" "$tmp/archives/partial"
    : >"$tmp/status"
}

end() {
    if [ -n "$init" ]; then
        kill -KILL "$init" 2>/dev/null || true
        while kill -0 "$init" 2>/dev/null; do sleep 0.1; done
    fi
    # cgroup2 is mounted in this namespace only; the group is the kernel's, and goes when it is empty.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        find "$tmp/cgroup/flakeup-finding-$$" -depth -type d -exec rmdir {} + 2>/dev/null || true
        [ -d "$tmp/cgroup/flakeup-finding-$$" ] || break
        sleep 0.2
    done
    umount -R -q -l "$root" "$tmp/cgroup" 2>/dev/null || true
    rm -rf --one-file-system "$tmp"
}

# Unpacks packages with all that they depend on into `$root`.
unpack() { # PACKAGE=VERSION...
    local mirror package folder
    mirror=$(apt-get indextargets --format '$(REPO_URI)')
    mirror=$(grep -m 1 '/debian/$' <<<"$mirror") || true
    printf 'deb %s %s main\n' "${mirror:?this machine has no Debian mirror}" "$SUITE" >"$tmp/sources"
    _apt update >"$tmp/apt.log" 2>&1 && _apt -y --download-only install "$@" >>"$tmp/apt.log" 2>&1 || {
        tail -n 5 "$tmp/apt.log" >&2
        exit 1
    }
    for package in "$tmp"/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
    for folder in bin lib lib64 sbin; do [ -e "$root/$folder" ] || ln -s "usr/$folder" "$root/$folder"; done
    mkdir -p "$root"/{proc,sys,run,tmp,dev,etc/systemd/system,var/lib,root}
    mount --bind "$root" "$root"
    mount -t tmpfs -o mode=755 none "$root/dev"
    for package in null zero full random urandom; do
        : >"$root/dev/$package" && mount --bind "/dev/$package" "$root/dev/$package"
    done
}

_apt() {
    apt-get -q -o Dir::Etc::sourcelist="$tmp/sources" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$tmp/lists" -o Dir::State::status="$tmp/status" \
        -o Dir::Cache="$tmp" -o Dir::Cache::archives="$tmp/archives" \
        -o APT::Sandbox::User=root -o APT::Install-Recommends=false "$@"
}

# Runs a command in `$root`, in a process namespace of its own.
run() { # COMMAND...
    unshare --pid --fork --kill-child --mount-proc="$root/proc" -- \
        chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin HOME=/root "$@"
}

# Boots the unpacked systemd into an empty target, as the init of a container; `inside` then runs there.
boot() {
    local group=$tmp/cgroup/flakeup-finding-$$
    printf '[Unit]\nDefaultDependencies=no\n' >"$root/etc/systemd/system/finding.target"
    : >"$root/etc/machine-id"
    mount -t tmpfs none "$root/run"
    mkdir "$tmp/cgroup" && mount -t cgroup2 none "$tmp/cgroup" && mkdir "$group"
    cat >"$tmp/start" <<START
echo \$\$ >"$group/cgroup.procs"
exec unshare --pid --mount --ipc --uts --cgroup --fork --propagation private -- sh -c '
mount -t proc proc "$root/proc"
mount -t tmpfs none "$root/sys" && mkdir -p "$root/sys/fs/cgroup"
mount -t cgroup2 none "$root/sys/fs/cgroup"
exec chroot "$root" /usr/bin/env -i container=finding PATH=/usr/sbin:/usr/bin \\
    /usr/lib/systemd/systemd --system --unit=finding.target --show-status=no --log-target=null'
START
    sh "$tmp/start" </dev/null >/dev/null 2>&1 &
    local started=$!
    for _ in $(seq 100); do
        init=$(cat "/proc/$started/task/$started/children" 2>/dev/null) && init=${init% }
        [ -z "$init" ] || [ ! -S "$root/run/systemd/private" ] || return 0
        sleep 0.1
    done
    echo "systemd has not come up" >&2
    exit 1
}

inside() { # COMMAND...
    nsenter --target "$init" --pid --mount --ipc --uts --cgroup --root --wd=/ -- \
        /usr/bin/env -i PATH=/usr/sbin:/usr/bin "$@"
}

# Says what was seen, and whether it is what this finding is about.
report() { # WHAT WANTED SEEN
    printf '%s: %s\n' "$1" "$3"
    [ "$2" = "$3" ] && return
    printf 'CHANGED: it was %s\n' "$2"
    changed=1
}
changed=0
