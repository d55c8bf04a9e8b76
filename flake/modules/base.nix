# What every host has: one way in (ssh, with pinned keys), one user who may deploy, and a Nix that
# takes signed paths alone.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.flakeup;
  hostKey = "/etc/ssh/ssh_host_ed25519_key";
  # Nobody has the private half: the template's own key, which gives way to yours.
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
          The user that flakeup logs in as (`hosts.<name>.user` of the stack). Who may activate a
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
          directories are not looked at.
        '';
      };
    };

    cache = {
      substituters = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "https://cache.example.org" ];
        description = "Binary caches that the host asks, besides NixOS's own.";
      };
      publicKeys = mkOption {
        type = types.listOf (types.strMatching "[^:[:space:]]+:[A-Za-z0-9+/]+={0,2}");
        default = [ ];
        example = [ "cache.example.org-1:kNpCGPQyA0nR0y0aBcpCTXzvcrSEuBTmTWJ2BWxnQDk=" ];
        description = ''
          The keys that paths from these caches are signed with. What comes through a cache is
          signed, always; what a deployment pushes over ssh needs no signature.
        '';
      };
    };

    gc = {
      dates = mkOption {
        type = types.str;
        default = "weekly";
        example = "Sun 03:15";
        description = "When the store is cleaned up, in the form of {manpage}`systemd.time(7)`.";
      };
      olderThan = mkOption {
        type = types.strMatching "[1-9][0-9]*d";
        default = "30d";
        example = "14d";
        description = ''
          How old generations are when they are removed. The system from before the last release
          is kept whatever its age: flakeup holds it as a GC root.
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
        message = "flakeup.cache.publicKeys is empty: nothing from flakeup.cache.substituters would be trusted";
      }
      {
        assertion = cfg.deploy.user != "root";
        message = "flakeup.deploy.user is root, who cannot log in here";
      }
    ];
    warnings = lib.optional (lib.elem placeholder cfg.deploy.authorizedKeys) "flakeup.deploy.authorizedKeys still has the template's key, which nobody can log in with";

    # One daemon that runs all the time: with a socket, a configuration that sshd refuses is seen
    # by the first login alone, and not by systemd.
    services.openssh = {
      enable = true;
      startWhenNeeded = false;
      # One key to pin, of the one kind that flakeup takes.
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
        # By force: NixOS's modules for EC2 and for images let root in with a key.
        PermitRootLogin = lib.mkForce "no";
      };
    };

    users = {
      # What is not written here is gone at the next activation: a password that somebody set, too.
      mutableUsers = false;
      users.root = {
        hashedPassword = "!";
        # NixOS's module for containers lets root in without a password.
        initialHashedPassword = lib.mkForce null;
      };
      users.${cfg.deploy.user} = {
        isNormalUser = true;
        description = "deploys with flakeup";
        # Among the users that may run sudo; what it may do there is the rule below.
        extraGroups = [ "wheel" ];
        openssh.authorizedKeys.keys = cfg.deploy.authorizedKeys;
      };
    };

    security.sudo = {
      enable = true;
      # sudo cannot be run by the users of services.
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
        # A trusted user of the daemon is as good as root: the deploy user copies through sudo.
        trusted-users = [ "root" ];
        substituters = cfg.cache.substituters;
        trusted-public-keys = cfg.cache.publicKeys;
      };
      gc = {
        automatic = true;
        inherit (cfg.gc) dates;
        options = "--delete-older-than ${cfg.gc.olderThan}";
      };
      # Hosts are built from the flake; a channel would be a second source of packages.
      channel.enable = false;
    };
    # The source of nixpkgs would be part of every host's closure, and of every copy.
    nixpkgs.flake = {
      setFlakeRegistry = false;
      setNixPath = false;
    };

    # NixOS's manual depends on all modules, and is nothing that a fleet reads on its hosts. Above
    # what the module for containers asks for (890).
    documentation.enable = lib.mkOverride 880 false;
    documentation.nixos.enable = lib.mkOverride 880 false;
  };
}
