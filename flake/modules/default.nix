# What every host of this flake imports; `incus.nix`, `ec2.nix` and `uefi.nix` say where it runs, and
# a host imports one of them (hosts/default.nix).
{
  imports = [
    ./app.nix
    ./base.nix
    ./boot-guard.nix
    ./health.nix
    ./secrets.nix
  ];
}
