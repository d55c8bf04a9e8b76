#!/bin/bash
# nix 2.26.3 (Debian nix-bin 2.26.3+dfsg-1): `--option accept-flake-config false` does not keep a flake's
# `nixConfig` from being applied. It only means that nix does not accept it now: what the user has accepted for
# good, the last time that nix asked, is in trusted-settings.json in the data folder, and is applied
# whatever the option says. Two users, or two machines, then evaluate one flake differently with the same
# command line. With an empty data folder (NIX_DATA_HOME, since 2.24) the option does what it says.
#
# Seen: a flake whose nixConfig switches an experimental language feature on evaluates with such a file
# and the option, and does not with NIX_DATA_HOME set as well.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/debian.sh
. "$(dirname "$0")/lib/debian.sh"
begin "$@"
unpack nix-bin=2.26.3+dfsg-1 bash coreutils
mkdir -p "$root/nix" "$root/etc/nix" "$root/flake" "$root/root/.local/share/nix" "$root/root/empty"
echo 'build-users-group =' >"$root/etc/nix/nix.conf"
cat >"$root/flake/flake.nix" <<'FLAKE'
{
  nixConfig.extra-experimental-features = [ "pipe-operators" ];
  outputs = _: { answer = import ./answer.nix; };
}
FLAKE
echo 'builtins.toString (41 |> (number: number + 1))' >"$root/flake/answer.nix"
answer() { # ENV...
    run /usr/bin/env "$@" nix --extra-experimental-features 'nix-command flakes' \
        --option accept-flake-config false eval --raw path:/flake#answer 2>/dev/null || echo "an error"
}
report "nothing accepted" "an error" "$(answer)"
echo '{"extra-experimental-features": {"pipe-operators": true}}' \
    >"$root/root/.local/share/nix/trusted-settings.json"
report "accepted once, and the option false" 42 "$(answer)"
report "the same with an empty data folder" "an error" "$(answer NIX_DATA_HOME=/root/empty)"
exit "$changed"
