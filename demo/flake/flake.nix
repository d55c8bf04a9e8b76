# A stand-in for a NixOS fleet where nixpkgs is not available: every toplevel has the layout, names and
# scripts of NixOS, but not its content. `demo/render-flake` inserts the input's URL, and `demo/base`
# writes what Incus images are made from (`base`).
#
# Building needs /bin/sh and either /bin/busybox in the sandbox (nix.conf:
# `extra-sandbox-paths = /bin/busybox`), or a build without sandbox on a host with coreutils.
{
  description = "demo fleet: web1 to web16 serve the app over http";

  inputs.app = {
    url = "@appUrl@";
    flake = false;
  };

  outputs =
    { app, ... }:
    let
      readJSON = file: builtins.fromJSON (builtins.readFile file);
      base = if builtins.pathExists ./base.json then readJSON ./base.json else null;
      hosts = readJSON ./hosts.json // (if base == null then { } else { base = { }; });
      system = "x86_64-linux";
      text = import ./lib/text.nix;
      build = import ./lib/build.nix system;
      packages = import ./lib/packages.nix { inherit build text; };
      version = text.firstLine (builtins.readFile "${app}/VERSION");
    in
    {
      packages.${system} = import ./lib/images.nix {
        inherit
          build
          text
          version
          ;
        release = packages.app { source = app; };
        base = if base == null then { } else base;
      };

      nixosConfigurations = builtins.mapAttrs (
        name: options:
        import ./lib/host.nix {
          inherit
            name
            options
            app
            base
            ;
        }
      ) hosts;
    };
}
