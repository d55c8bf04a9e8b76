# A host: from its options to `config`, with the attributes of a NixOS configuration that tools read.
{
  name,
  options,
  app,
  base,
}:
let
  text = import ./text.nix;
  opts = import ./options.nix { inherit name options; };
  faults = import ./faults.nix {
    inherit name;
    inherit (opts) faults;
  };
  build = import ./build.nix opts.system;
  packages = import ./packages.nix { inherit build text; };
  units = import ./units.nix { inherit build text; };
  release = packages.app {
    source = app;
    answers = opts.faults.app-answers or null;
  };
  label = "25.11.demo"; # the same for all releases, as with NixOS
  toplevel = import ./toplevel.nix {
    inherit
      name
      label
      opts
      build
      text
      packages
      ;
    path = packages.systemPath [
      release
      packages.motd
    ];
    systemUnits = units.systemUnits {
      units =
        import ./app-units.nix {
          app = release;
          host = name;
        }
        // faults.units
        // opts.units;
      hostUnits = if opts.faults ? sshd-stopped then [ ] else [ "ssh.service" ];
    };
  };
  image = import ./image.nix {
    inherit
      name
      base
      build
      text
      ;
    inherit (opts) system;
  };
in
{
  config = {
    networking.hostName = name;
    flakeup.activation = opts.activation;
    nixpkgs.hostPlatform.system = opts.system;
    system.nixos.label = label;
    # As with NixOS, only a system for containers has the parts of an image.
    system.build = {
      inherit toplevel;
    }
    // (if base == null then { } else image);
  };
}
