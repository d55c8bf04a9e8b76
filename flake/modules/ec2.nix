# An EC2 instance, or the image for one: NixOS's own profile, without the parts that let user data
# change or reveal anything.
{
  config,
  lib,
  modulesPath,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.flakeup.ec2;
in
{
  imports = [ "${modulesPath}/virtualisation/amazon-image.nix" ];

  options.flakeup.ec2 = {
    uefi = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = ''
        Whether the instance boots by UEFI, as all Nitro types can and aarch64 must. An image and the
        hosts created from it need the same value.
      '';
    };
    userData = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Whether the instance asks the metadata service for its host name, its launch key pair and an
        ssh host key in its user data. Every process on the instance that reaches the metadata service
        can read them, so user data must not hold secrets. It is never run as a script.
      '';
    };
    sessionManager = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Whether people can log in through AWS's Session Manager. It is a second way in besides ssh,
        governed by IAM: its user has a sudo rule of its own.
      '';
    };
  };

  config = {
    ec2.efi = cfg.uefi;

    # It runs user data at every boot, and a switch by it would undo a deployment.
    virtualisation.amazon-init.enable = false;
    systemd.services = lib.mkIf (!cfg.userData) {
      fetch-ec2-metadata.enable = false;
      apply-ec2-data.enable = false;
    };

    services.amazon-ssm-agent.enable = lib.mkForce cfg.sessionManager;

    # The image's boot partition has 256 MiB, and each kernel takes about 40 of them.
    boot.loader.grub.configurationLimit = 4;
    # NixOS's profile prints the host key on the serial console (`print-host-key`), where flakeup can
    # read it through AWS's own authenticated API.
    networking.nftables.enable = true;

    image.modules.amazon = import ../images/ami.nix;
  };
}
