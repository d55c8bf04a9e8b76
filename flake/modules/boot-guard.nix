# Guards the first boot of a release that became the boot default before it ever ran (`mode: boot`):
# the script next to this file says how, and README.md which files it reads and writes.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.flakeup.bootGuard;
  systemdBoot = config.boot.loader.systemd-boot;
  bootFolder =
    if systemdBoot.xbootldrMountPoint != null then
      systemdBoot.xbootldrMountPoint
    else
      config.boot.loader.efi.efiSysMountPoint;
  # loader.conf is on the ESP, and entries may be elsewhere: only if both are in one folder can a
  # system be started once.
  canStartOnce = systemdBoot.enable && systemdBoot.xbootldrMountPoint == null;
  bootMounts = lib.filter (place: place == bootFolder || lib.hasPrefix "/boot" place) (
    lib.attrNames config.fileSystems
  );

  guard = pkgs.writeShellScriptBin "flakeup-boot-guard" ''
    PATH=${
      lib.makeBinPath [
        pkgs.coreutils
        pkgs.gnugrep
        pkgs.gnused
        pkgs.util-linux
        config.nix.package
        config.systemd.package
      ]
    }
    FLAKEUP_GUARD_LIMIT=${cfg.limit}
    FLAKEUP_GUARD_CONFIRM=${cfg.confirm}
    FLAKEUP_GUARD_BOOT=${lib.optionalString canStartOnce bootFolder}
    FLAKEUP_GUARD_MOUNTS=${lib.escapeShellArg (toString bootMounts)}
    ${builtins.readFile ./boot-guard.sh}
  '';
in
{
  options.flakeup.bootGuard = {
    enable = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = ''
        Whether a release that was staged with `mode: boot` is rolled back if nobody confirms its
        first boot: OLD becomes the boot default, and the machine reboots once. If nothing is
        staged, nothing is done.
      '';
    };
    limit = mkOption {
      type = types.strMatching "[1-9][0-9]{0,4}[smh]";
      default = "10m";
      example = "30m";
      description = ''
        How long the first boot waits for its confirmation, from the moment systemd starts (after
        the initrd).
      '';
    };
    confirm = mkOption {
      type = types.enum [
        "command"
        "healthy"
      ];
      default = "command";
      example = "healthy";
      description = ''
        Who confirms: `command` is somebody who logs in and runs `sudo flakeup-boot-guard confirm`,
        or starts another deployment; this proves network, sshd, keys and sudo. `healthy` is the
        host itself, once the boot has finished and no unit has failed: for hosts that may reboot
        unattended.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ guard ];

    # As early as the attempt can be read, and nothing waits for it: a boot that hangs, in a unit or in
    # another file system, is guarded too. Emergency mode isolates its target: the guard stays.
    systemd.services.flakeup-boot-guard = {
      description = "Guard of a release that runs for the first time";
      wantedBy = [ "sysinit.target" ];
      after = [ "systemd-remount-fs.service" ];
      before = [ "shutdown.target" ];
      conflicts = [ "shutdown.target" ];
      unitConfig = {
        DefaultDependencies = false;
        IgnoreOnIsolate = true;
        RequiresMountsFor = [ "/nix/var/flakeup" ];
      };
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = "${lib.getExe guard} boot";
      };
      # It belongs to the boot, not to a release: a switch does not touch it.
      restartIfChanged = false;
      stopIfChanged = false;
    };

    boot.loader.systemd-boot.extraInstallCommands = lib.mkIf canStartOnce ''
      # The argument is the system that the boot loader was installed for.
      ${lib.getExe guard} installed "$1" || true
    '';
  };
}
