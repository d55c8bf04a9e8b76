# A release that is staged for the next boot (`mode: boot`): it is rolled back if nobody confirms its
# first boot, or if it does not come up at all.
runner:
{
  begin,
  lib,
  pkgs,
  ...
}:
{
  imports = [ (import ./common.nix runner) ];
  name = "flakeup-guard-boot";

  nodes.machine = {
    flakeup.bootGuard.limit = "90s";
    specialisation = {
      good.configuration.systemd.services.good = {
        wantedBy = [ "multi-user.target" ];
        serviceConfig.ExecStart = "${lib.getExe' pkgs.coreutils "sleep"} infinity";
      };
      # It hangs before anything that units wait for by default.
      stuck.configuration.systemd.services.stuck = {
        wantedBy = [ "sysinit.target" ];
        before = [ "sysinit.target" ];
        unitConfig.DefaultDependencies = false;
        serviceConfig = {
          Type = "oneshot";
          TimeoutStartSec = "infinity";
          ExecStart = "${lib.getExe' pkgs.coreutils "sleep"} infinity";
        };
      };
      # Its kernel finds no init, and the machine resets.
      dead.configuration.boot.kernelParams = [
        "rdinit=/none"
        "panic=2"
      ];
    };
  };

  testScript =
    { nodes, ... }:
    ''
      ${begin { inherit nodes; }}
      GOOD = "${nodes.machine.specialisation.good.configuration.system.build.toplevel}"
      DEAD = "${nodes.machine.specialisation.dead.configuration.system.build.toplevel}"

      STUCK = "${nodes.machine.specialisation.stuck.configuration.system.build.toplevel}"

      def stage(name: str, new: str) -> None:
          status, last = attempt(name, new, mode="boot")
          assert (status, last["state"]) == (0, "awaiting-confirm"), last
          status, output = commit(new)
          assert status == 0, output
          assert state(name) == "committed"
          is_on(OLD)
          boots(new)

      def comes_up_again() -> None:
          machine.connected = False
          machine.wait_for_unit("multi-user.target")

      # The boot does not wait for the guard, so poll for its state.
      def is_guarded(name: str, word: str) -> None:
          machine.wait_until_succeeds(
              f"grep -qx {word} /nix/var/flakeup/attempts/{name}/guard", timeout=60
          )

      begin()

      with subtest("nobody confirms: OLD again, after one reboot"):
          stage("a1", GOOD)
          is_guarded("a1", "once")
          machine.reboot()
          machine.wait_for_unit("multi-user.target")
          is_on(GOOD)
          is_guarded("a1", "armed")
          comes_up_again()
          is_on(OLD)
          is_guarded("a1", "rolled-back")
          boots(OLD)
          assert state("a1") == "rolled-back"

      with subtest("a release that does not come up: the boot loader falls back"):
          publish()
          stage("a2", DEAD)
          machine.reboot()
          machine.wait_for_unit("multi-user.target")
          is_on(OLD)
          is_guarded("a2", "rolled-back")
          boots(OLD)
          assert state("a2") == "rolled-back"

      with subtest("a release that hangs early: OLD again, though nothing but the timer was started"):
          publish()
          stage("a4", STUCK)
          machine.reboot()
          machine.wait_for_unit("multi-user.target", timeout=300)
          is_on(OLD)
          is_guarded("a4", "rolled-back")
          boots(OLD)
          assert state("a4") == "rolled-back"

      with subtest("confirmed over ssh: it stays, and the next boot awaits nothing"):
          publish()
          stage("a3", GOOD)
          machine.reboot()
          machine.wait_for_unit("multi-user.target")
          is_on(GOOD)
          is_guarded("a3", "armed")
          deployer.wait_until_succeeds(f"{SSH} sudo -n flakeup-boot-guard confirm", timeout=60)
          is_guarded("a3", "confirmed")
          machine.fail("systemctl is-active flakeup-boot-revert.timer")
          machine.reboot()
          machine.wait_for_unit("multi-user.target")
          is_on(GOOD)
          boots(GOOD)
          machine.fail("systemctl is-active flakeup-boot-revert.timer")
    '';
}
