# Guards the first boot of a release that became the boot default before it had run (`mode: boot`):
# the script beside this file says how, and README.md which files it reads and writes.
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
  # loader.conf is on the ESP, and entries may be elsewhere: only where both are one folder can a
  # system be started once.
  canStartOnce = systemdBoot.enable && systemdBoot.xbootldrMountPoint == null;

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
        Whether a release that was staged with `mode: boot` is taken back when nobody confirms its
        first boot: OLD becomes the boot default, and the machine reboots once. Where nothing is
        staged, nothing is done.
      '';
    };
    limit = mkOption {
      type = types.strMatching "[1-9][0-9]{0,4}[smh]";
      default = "10m";
      example = "30m";
      description = ''
        How long the first boot waits to be confirmed, from the moment when file systems are
        mounted.
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
        Who confirms: `command` is somebody who comes in and runs `sudo flakeup-boot-guard confirm`,
        or who begins another deployment; it proves network, sshd, keys and sudo. `healthy` is the
        host itself, when the boot has come to its end and no unit has failed: for hosts that may
        reboot when nobody looks.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ guard ];

    # As early as the store can be read, and waited for by nothing: a boot that hangs in a unit is
    # guarded too.
    systemd.services.flakeup-boot-guard = {
      description = "Guard of a release that runs for the first time";
      wantedBy = [ "multi-user.target" ];
      after = [ "local-fs.target" ];
      before = [ "shutdown.target" ];
      conflicts = [ "shutdown.target" ];
      unitConfig = {
        DefaultDependencies = false;
        RequiresMountsFor = [ "/nix/var/flakeup" ] ++ lib.optional canStartOnce bootFolder;
      };
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = "${lib.getExe guard} boot";
      };
      # It belongs to the boot, not to a release: a switch leaves it alone.
      restartIfChanged = false;
      stopIfChanged = false;
    };

    boot.loader.systemd-boot.extraInstallCommands = lib.mkIf canStartOnce ''
      # The argument is the system that the boot loader was written for.
      ${lib.getExe guard} installed "$1" || true
    '';
  };
}
