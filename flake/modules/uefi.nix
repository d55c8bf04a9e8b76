# A physical or virtual machine that boots by UEFI: systemd-boot, and file systems that are found by
# their labels (`nixos` and `ESP`, as in NixOS's own images and disko's examples).
{ lib, modulesPath, ... }:
{
  imports = [ "${modulesPath}/profiles/qemu-guest.nix" ];

  boot.loader = {
    systemd-boot = {
      enable = true;
      # With a full ESP, the commit fails.
      configurationLimit = 8;
      # Whoever can edit the kernel's command line is root.
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
