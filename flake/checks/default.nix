# `nix flake check ./flake`: every host evaluates, the options are documented, the files are
# formatted, and the guard works in virtual machines (which need KVM).
{
  inputs,
  lib,
  pkgs,
}:
let
  inherit (inputs) self;
  inherit (pkgs.stdenv.hostPlatform) system;
  hosts = lib.filterAttrs (
    _: host: host.pkgs.stdenv.hostPlatform.system == system
  ) self.nixosConfigurations;

  # The evaluation is the check: the host itself is not built.
  evaluated = lib.mapAttrs' (
    name: host:
    lib.nameValuePair "host-${name}" (
      pkgs.writeText "evaluated-${name}" (
        builtins.unsafeDiscardStringContext host.config.system.build.toplevel.drvPath
      )
    )
  ) hosts;

  runner = import ./runner.nix;
  guard = lib.optionalAttrs (runner != null) (
    lib.mapAttrs' (
      name: test: lib.nameValuePair "guard-${name}" (pkgs.testers.runNixOSTest (import test runner))
    ) (import ./guard)
  );
in
evaluated
// guard
// {
  options = pkgs.callPackage ./options.nix { inherit self; };
  style = pkgs.callPackage ./style.nix { inherit self; };
}
