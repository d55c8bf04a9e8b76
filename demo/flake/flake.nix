# A fleet that stands in for a NixOS one where nixpkgs cannot be had: every toplevel has NixOS's
# layout, names and scripts, and nothing of NixOS in it. `demo/render-flake` fills in the input's url.
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
    {
      nixosConfigurations = builtins.mapAttrs (
        name: options: import ./lib/host.nix { inherit name options app; }
      ) (builtins.fromJSON (builtins.readFile ./hosts.json));
    };
}
