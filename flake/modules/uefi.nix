# A machine, or a virtual one, that boots by UEFI: systemd-boot, and a disk that is found by its
# labels (`nixos` and `ESP`, as NixOS's own images and disko's examples have them).
{ lib, modulesPath, ... }:
{
  imports = [ "${modulesPath}/profiles/qemu-guest.nix" ];

  boot.loader = {
    systemd-boot = {
      enable = true;
      # A full ESP is a failed commit.
      configurationLimit = 8;
      # Who edits the kernel's command line is root.
      editor = false;
    };
    efi.canTouchEfiVariables = true;
    timeout = 3;
  };
  boot.initrd.availableKernelModules = [
    "ahci"
    "nvme"
    "sd_mod"
    "usbhid"
    "xhci_pci"
  ];

  fileSystems = {
    "/" = {
      device = lib.mkDefault "/dev/disk/by-label/nixos";
      fsType = lib.mkDefault "ext4";
    };
    "/boot" = {
      device = lib.mkDefault "/dev/disk/by-label/ESP";
      fsType = lib.mkDefault "vfat";
      options = [ "umask=0077" ];
    };
  };
  networking.useNetworkd = true;
  networking.nftables.enable = true;
}
