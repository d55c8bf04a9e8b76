# A release with a failing unit is rolled back before any confirmation; a healthy one that is
# confirmed over ssh stays.
runner:
{
  begin,
  lib,
  pkgs,
  ...
}:
{
  imports = [ (import ./common.nix runner) ];
  name = "flakeup-guard-unit";

  nodes.machine.specialisation = {
    broken.configuration.systemd.services.broken = {
      wantedBy = [ "multi-user.target" ];
      serviceConfig.ExecStart = lib.getExe' pkgs.coreutils "false";
    };
    good.configuration.systemd.services.good = {
      wantedBy = [ "multi-user.target" ];
      serviceConfig.ExecStart = "${lib.getExe' pkgs.coreutils "sleep"} infinity";
    };
  };

  testScript =
    { nodes, ... }:
    ''
      ${begin { inherit nodes; }}
      BROKEN = "${nodes.machine.specialisation.broken.configuration.system.build.toplevel}"
      GOOD = "${nodes.machine.specialisation.good.configuration.system.build.toplevel}"

      begin()

      with subtest("a failed unit is a rollback"):
          status, last = attempt("a1", BROKEN)
          assert (status, last["state"]) == (21, "rolled-back"), last
          assert last["units"] == "broken.service", last
          is_on(OLD)
          boots(OLD)
          assert commit(BROKEN)[0] == 31

      with subtest("a good release becomes the boot default only when confirmed"):
          status, last = attempt("a2", GOOD)
          assert (status, last["state"]) == (0, "awaiting-confirm"), last
          is_on(GOOD)
          boots(OLD)
          status, output = commit(GOOD)
          assert status == 0, output
          boots(GOOD)
          assert state("a2") == "committed"
          machine.succeed("systemctl is-active good.service")
          machine.fail("systemctl list-timers --all | grep flakeup-")
    '';
}
