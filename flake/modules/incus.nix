# An Incus container: NixOS's module for LXC, and what its users found missing.
{
  config,
  lib,
  modulesPath,
  ...
}:
let
  cfg = config.flakeup.incus;
in
{
  imports = [ "${modulesPath}/virtualisation/lxc-container.nix" ];

  options.flakeup.incus.nesting = lib.mkOption {
    type = lib.types.bool;
    default = true;
    example = false;
    description = ''
      Whether the instance has `security.nesting=true`. Without it, systemd units with credentials
      fail in a container, and Nix cannot create its sandbox: it is turned off then, so build
      elsewhere.
    '';
  };

  config = {
    # systemd-networkd only: the container profile would use the host's resolv.conf.
    networking = {
      dhcpcd.enable = false;
      useDHCP = false;
      useHostResolvConf = false;
      useNetworkd = true;
      # iptables' modules cannot be loaded from inside, and the firewall would fail at each switch.
      nftables.enable = true;
    };
    systemd.network.networks."50-eth0" = {
      matchConfig.Name = "eth0";
      networkConfig = {
        DHCP = "ipv4";
        IPv6AcceptRA = true;
      };
      linkConfig.RequiredForOnline = "routable";
    };

    # A reload of dbus-broker hangs in a container, and the switch then exits with status 4.
    systemd.services.dbus-broker = {
      reloadIfChanged = lib.mkForce false;
      restartIfChanged = lib.mkForce false;
    };

    nix.settings = lib.mkIf (!cfg.nesting) { sandbox = false; };

    # flakeup deploys to instances of this image: no channel, no configuration.nix.
    system.installer.channel.enable = false;
    installer.cloneConfig = false;
    services.getty.helpLine = lib.mkForce "";
  };
}
