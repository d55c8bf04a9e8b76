# The hosts: `nixosConfigurations.<name>`, which flakeup calls a host's `attr` (by default its name).
#
#   role         what it is for: a folder here, shared by the environments
#   environment  the argument `environment` of modules
#   machine      where it runs: one of ../modules/{ec2,incus,uefi}.nix
#   system       its architecture
#   buildOn      optional: cross-compile on this architecture instead of building natively
{ nixpkgs, specialArgs }:
let
  inherit (nixpkgs) lib;

  hosts = {
    web = {
      role = ./web;
      environment = "production";
      machine = ../modules/ec2.nix;
      system = "x86_64-linux";
    };
    worker = {
      role = ./worker;
      environment = "production";
      machine = ../modules/ec2.nix;
      system = "aarch64-linux";
    };
    sidekiq = {
      role = ./sidekiq;
      environment = "production";
      machine = ../modules/uefi.nix;
      system = "x86_64-linux";
    };

    staging-web = {
      role = ./web;
      environment = "staging";
      machine = ../modules/incus.nix;
      system = "x86_64-linux";
    };
    staging-worker = {
      role = ./worker;
      environment = "staging";
      machine = ../modules/incus.nix;
      system = "aarch64-linux";
    };
    staging-sidekiq = {
      role = ./sidekiq;
      environment = "staging";
      machine = ../modules/incus.nix;
      system = "x86_64-linux";
    };

    # The image of new Incus instances; flakeup then switches them to their own system.
    incus-base = {
      role = ./incus-base;
      environment = "image";
      machine = ../modules/incus.nix;
      system = "x86_64-linux";
    };
    incus-base-aarch64 = {
      role = ./incus-base;
      environment = "image";
      machine = ../modules/incus.nix;
      system = "aarch64-linux";
    };
  };

  make =
    name: host:
    lib.nixosSystem {
      specialArgs = specialArgs // {
        inherit (host) environment;
      };
      modules = [
        ../modules
        host.role
        host.machine
        {
          networking.hostName = name;
          nixpkgs.hostPlatform = host.system;
        }
        (lib.optionalAttrs (host ? buildOn) { nixpkgs.buildPlatform = host.buildOn; })
      ];
    };
in
lib.mapAttrs make hosts
