# A host that is an EC2 instance, or the image of one: NixOS's own profile, without what lets user
# data change or reveal anything.
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
        Whether the instance boots by UEFI, as all Nitro types can and aarch64 has to. An image and
        the hosts made from it have the same.
      '';
    };
    userData = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Whether the instance asks the metadata service for its host name, the key pair of its launch
        and an ssh host key in its user data. Everything on the instance that reaches the metadata
        service can read what is there, so nothing secret belongs into it. It is never run.
      '';
    };
    sessionManager = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Whether AWS's Session Manager lets people in. It is a second way in beside ssh, and the rights
        to use it are IAM's: its user has a sudo rule of its own.
      '';
    };
  };

  config = {
    ec2.efi = cfg.uefi;

    # It runs user data at every boot, and a switch from it would undo a deployment.
    virtualisation.amazon-init.enable = false;
    systemd.services = lib.mkIf (!cfg.userData) {
      fetch-ec2-metadata.enable = false;
      apply-ec2-data.enable = false;
    };

    services.amazon-ssm-agent.enable = lib.mkForce cfg.sessionManager;

    # The boot partition of the image has 256 MiB, and each kernel takes some forty of it.
    boot.loader.grub.configurationLimit = 4;
    # The host key is printed on the serial console (`print-host-key` of NixOS's profile), which is
    # where flakeup can learn it from, over AWS's own authenticated API.
    networking.nftables.enable = true;

    image.modules.amazon = import ../images/ami.nix;
  };
}
