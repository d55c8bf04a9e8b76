{
  description = "NixOS hosts for flakeup: fork it, and put your own hosts and app into it";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

    # What `appRef` pins: a repository with a `package.nix` (README.md). It is not used as a flake, so
    # that it brings no nixpkgs of its own that would have to be fetched, locked and evaluated.
    app = {
      url = "git+https://git.example.org/you/app";
      flake = false;
    };

    # Secrets (modules/secrets.nix). Commented out, because nix fetches and locks every input that is
    # named here, used or not:
    # sops-nix = {
    #   url = "github:Mic92/sops-nix";
    #   inputs.nixpkgs.follows = "nixpkgs";
    # };
  };

  outputs =
    inputs@{ self, nixpkgs, ... }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forEachSystem = f: lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
    in
    {
      nixosConfigurations = import ./hosts {
        inherit nixpkgs;
        specialArgs = { inherit inputs; };
      };

      # For hosts in another flake; `default` and `secrets` need the special argument `inputs`.
      nixosModules = {
        default = ./modules;
        app = ./modules/app.nix;
        base = ./modules/base.nix;
        bootGuard = ./modules/boot-guard.nix;
        ec2 = ./modules/ec2.nix;
        health = ./modules/health.nix;
        incus = ./modules/incus.nix;
        secrets = ./modules/secrets.nix;
        uefi = ./modules/uefi.nix;
      };

      packages = forEachSystem (
        pkgs:
        let
          app = pkgs.callPackage "${inputs.app}/package.nix" { };
          base =
            self.nixosConfigurations.${
              if pkgs.stdenv.hostPlatform.isAarch64 then "incus-base-aarch64" else "incus-base"
            };
          image = import ./images/incus.nix base;
        in
        {
          inherit app;
          app-image = pkgs.callPackage ./images/docker.nix { inherit app; };
          edge-image = pkgs.callPackage ./images/edge.nix { };
          incus-base-metadata = image.metadata;
          incus-base-rootfs = image.rootfs;
        }
      );

      devShells = forEachSystem (pkgs: {
        default = pkgs.callPackage ./shell.nix { };
      });

      checks = forEachSystem (pkgs: import ./checks { inherit inputs lib pkgs; });

      formatter = forEachSystem (pkgs: pkgs.nixfmt-tree);
    };
}
