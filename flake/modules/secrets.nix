# Secrets with sops-nix, for who has uncommented that input in flake.nix: nix locks every input that
# flake.nix names, also one that nothing uses, so it is not there for who does without it.
{
  config,
  inputs,
  lib,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.flakeup.secrets;
  hasSops = inputs ? sops-nix;
in
{
  imports = lib.optional hasSops inputs.sops-nix.nixosModules.sops;

  options.flakeup.secrets = {
    file = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = lib.literalExpression "./secrets.yaml";
      description = ''
        This host's secrets, encrypted by sops for its ssh host key (as ssh-to-age writes it). It is
        decrypted on the host at activation; the store holds the encrypted file alone.
      '';
    };
    names = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "database-url" ];
      description = ''
        The keys of the file that the app gets as credentials, each under its own name
        (`flakeup.app.credentials`).
      '';
    };
  };

  config = lib.mkMerge [
    {
      assertions = [
        {
          assertion = cfg.file == null || hasSops;
          message = "flakeup.secrets.file needs the input sops-nix: uncomment it in flake.nix, and lock it";
        }
        {
          assertion = cfg.names == [ ] || cfg.file != null;
          message = "flakeup.secrets.names needs flakeup.secrets.file";
        }
      ];
    }
    (lib.optionalAttrs hasSops (
      lib.mkIf (cfg.file != null) {
        sops = {
          defaultSopsFile = cfg.file;
          # The key that the host has anyway, and the one kind that it has.
          age.sshKeyPaths = [ "/etc/ssh/ssh_host_ed25519_key" ];
          gnupg.sshKeyPaths = [ ];
          secrets = lib.genAttrs cfg.names (_: {
            # A service that reads a credential reads it when it starts.
            restartUnits = map (name: "app-${name}.service") (lib.attrNames config.flakeup.app.processes);
          });
        };
        flakeup.app.credentials = lib.genAttrs cfg.names (name: config.sops.secrets.${name}.path);
      }
    ))
  ];
}
