# What the program needs on the machine that runs it, NixOS included: `nix develop ./flake`.
#
# The Python packages do not come from nixpkgs: in this shell too, `pulumi install` puts the versions
# that requirements.txt locks into `.venv`. One of these wheels, grpc's, is linked against a libstdc++
# that the loader does not find on NixOS.
{
  git,
  lib,
  mkShell,
  nix,
  openssh,
  pulumi-bin,
  python3,
  stdenv,
}:
let
  # The oldest release that flakeup is tested with.
  tested = "3.259.0";
  old = lib.versionOlder pulumi-bin.version tested;
  warning = "nixpkgs has Pulumi ${pulumi-bin.version}; flakeup is tested with ${tested} and later";
in
mkShell {
  packages = [
    git
    nix
    openssh
    (lib.warnIf old warning pulumi-bin)
    python3
  ];
  env = {
    LD_LIBRARY_PATH = lib.makeLibraryPath [ stdenv.cc.cc ];
    # The package has providers beside Pulumi, on PATH: the engine would take them in place of the
    # versions that `pulumi install` has fetched.
    PULUMI_IGNORE_AMBIENT_PLUGINS = "true";
  };
}
