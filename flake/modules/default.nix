# What every host of this flake imports. hosts/default.nix adds where it runs: one of `incus.nix`,
# `ec2.nix` and `uefi.nix`.
{
  imports = [
    ./app.nix
    ./base.nix
    ./boot-guard.nix
    ./health.nix
    ./secrets.nix
  ];
}
