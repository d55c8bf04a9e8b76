# What every host has: one way in (ssh, with pinned keys), one user who may deploy, and a Nix that
# accepts only signed paths.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.flakeup;
  hostKey = "/etc/ssh/ssh_host_ed25519_key";
  # The template's key, to be replaced with yours: nobody has its private half.
  placeholder = import ./placeholder-key.nix;
in
{
  options.flakeup = {
    deploy = {
      user = mkOption {
        type = types.strMatching "[a-z_][a-z0-9_-]{0,31}";
        default = "deploy";
        example = "release";
        description = ''
          The user that flakeup logs in as (`hosts.<name>.user` of the stack). Whoever may activate a
          system is root, so it has one sudo rule, `NOPASSWD: ALL`, and no password.
        '';
      };
      authorizedKeys = mkOption {
        type = types.listOf (
          types.strMatching "(sk-)?ssh-ed25519(@openssh[.]com)? [A-Za-z0-9+/]+={0,2}( .*)?"
        );
        default = [ ];
        example = [ "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII37QsfaC6TZC04ULDxkqO8IB9/KJvwLWbiP2ORl634Q ci" ];
        description = ''
          The ed25519 keys that may log in as the deploy user. They are the only ones: keys in home
          directories are ignored.
        '';
      };
    };

    cache = {
      substituters = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "https://cache.example.org" ];
        description = "Binary caches that the host uses in addition to NixOS's own.";
      };
      publicKeys = mkOption {
        type = types.listOf (types.strMatching "[^:[:space:]]+:[A-Za-z0-9+/]+={0,2}");
        default = [ ];
        example = [ "cache.example.org-1:kNpCGPQyA0nR0y0aBcpCTXzvcrSEuBTmTWJ2BWxnQDk=" ];
        description = ''
          The keys that paths from these caches are signed with. Paths from a cache are always
          signed; those that a deployment copies over ssh need no signature.
        '';
      };
    };

    gc = {
      dates = mkOption {
        type = types.str;
        default = "weekly";
        example = "Sun 03:15";
        description = "When the store is garbage-collected, as a calendar event of {manpage}`systemd.time(7)`.";
      };
      olderThan = mkOption {
        type = types.strMatching "[1-9][0-9]*d";
        default = "30d";
        example = "14d";
        description = ''
          The age at which generations are deleted. The system before the last release is kept
          whatever its age: flakeup holds it as a GC root.
        '';
      };
    };
  };

  config = {
    assertions = [
      {
        assertion = cfg.deploy.authorizedKeys != [ ];
        message = "flakeup.deploy.authorizedKeys is empty: nobody could log in to deploy";
      }
      {
        assertion = cfg.cache.substituters == [ ] || cfg.cache.publicKeys != [ ];
        message = "flakeup.cache.publicKeys is empty: no path from flakeup.cache.substituters would be trusted";
      }
      {
        assertion = cfg.deploy.user != "root";
        message = "flakeup.deploy.user is root, who cannot log in here";
      }
    ];
    warnings = lib.optional (lib.elem placeholder cfg.deploy.authorizedKeys) "flakeup.deploy.authorizedKeys still has the template's key, which nobody can log in with";

    # A daemon that always runs: with socket activation, only the first login would notice a
    # configuration that sshd refuses, and systemd would not.
    services.openssh = {
      enable = true;
      startWhenNeeded = false;
      # One key to pin, of the only type that flakeup accepts.
      hostKeys = [
        {
          type = "ed25519";
          path = hostKey;
        }
      ];
      authorizedKeysInHomedir = false;
      settings = {
        PasswordAuthentication = false;
        KbdInteractiveAuthentication = false;
        # Forced: NixOS's modules for EC2 and for images let root log in with a key.
        PermitRootLogin = lib.mkForce "no";
      };
    };

    users = {
      # What is not declared here is removed at the next activation, such as a password set by hand.
      mutableUsers = false;
      users.root = {
        hashedPassword = "!";
        # NixOS's module for containers lets root log in without a password.
        initialHashedPassword = lib.mkForce null;
      };
      users.${cfg.deploy.user} = {
        isNormalUser = true;
        description = "deploys with flakeup";
        # It may run sudo; what it may do with it is the rule below.
        extraGroups = [ "wheel" ];
        openssh.authorizedKeys.keys = cfg.deploy.authorizedKeys;
      };
    };

    security.sudo = {
      enable = true;
      # Users of services cannot run sudo.
      execWheelOnly = true;
      extraRules = [
        {
          users = [ cfg.deploy.user ];
          commands = [
            {
              command = "ALL";
              options = [ "NOPASSWD" ];
            }
          ];
        }
      ];
    };

    nix = {
      settings = {
        experimental-features = [
          "nix-command"
          "flakes"
        ];
        # A trusted user of the daemon is equivalent to root: the deploy user copies through sudo.
        trusted-users = [ "root" ];
        substituters = cfg.cache.substituters;
        trusted-public-keys = cfg.cache.publicKeys;
      };
      gc = {
        automatic = true;
        inherit (cfg.gc) dates;
        options = "--delete-older-than ${cfg.gc.olderThan}";
      };
      # Hosts come from the flake; a channel would be a second source of packages.
      channel.enable = false;
    };
    # nixpkgs' sources would be part of every host's closure, and of every copy.
    nixpkgs.flake = {
      setFlakeRegistry = false;
      setNixPath = false;
    };

    # NixOS's manual depends on all modules, and nobody reads it on a server. The priority is above
    # that of the module for containers (890).
    documentation.enable = lib.mkOverride 880 false;
    documentation.nixos.enable = lib.mkOverride 880 false;
  };
}
