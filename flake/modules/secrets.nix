# Secrets with sops-nix, if its input in flake.nix is uncommented. It is not by default, because nix
# locks every input that flake.nix names, used or not.
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
        This host's secrets, encrypted by sops for its ssh host key (converted by ssh-to-age). They
        are decrypted on the host at activation; only the encrypted file is in the store.
      '';
    };
    names = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "database-url" ];
      description = ''
        The keys in the file that the app gets as credentials of the same name
        (`flakeup.app.credentials`).
      '';
    };
  };

  config = lib.mkMerge [
    {
      assertions = [
        {
          assertion = cfg.file == null || hasSops;
          message = "flakeup.secrets.file needs the input sops-nix: uncomment it in flake.nix, then run nix flake lock";
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
          # The key that the host has anyway, and the only type that it has.
          age.sshKeyPaths = [ "/etc/ssh/ssh_host_ed25519_key" ];
          gnupg.sshKeyPaths = [ ];
          secrets = lib.genAttrs cfg.names (_: {
            # Services read their credentials when they start.
            restartUnits = map (name: "app-${name}.service") (lib.attrNames config.flakeup.app.processes);
          });
        };
        flakeup.app.credentials = lib.genAttrs cfg.names (name: config.sops.secrets.${name}.path);
      }
    ))
  ];
}
