# A host that goes down before its release is confirmed comes up with the old one: the boot loader was
# not touched.
runner:
{
  begin,
  lib,
  pkgs,
  ...
}:
{
  imports = [ (import ./common.nix runner) ];
  name = "flakeup-guard-reboot";

  nodes.machine.specialisation.good.configuration.systemd.services.good = {
    wantedBy = [ "multi-user.target" ];
    serviceConfig.ExecStart = "${lib.getExe' pkgs.coreutils "sleep"} infinity";
  };

  testScript =
    { nodes, ... }:
    ''
      ${begin { inherit nodes; }}
      NEW = "${nodes.machine.specialisation.good.configuration.system.build.toplevel}"

      begin()

      with subtest("a power cut in the window is a rollback"):
          status, last = attempt("a1", NEW, confirm=600)
          assert (status, last["state"]) == (0, "awaiting-confirm"), last
          is_on(NEW)
          machine.succeed("sync")
          machine.crash()
          machine.start(allow_reboot=True)
          machine.wait_for_unit("multi-user.target")
          is_on(OLD)
          boots(OLD)
          machine.fail("systemctl is-active good.service")

      with subtest("a confirmation after that is refused"):
          publish()
          status, output = commit(NEW)
          assert status == 31, output
          boots(OLD)

      with subtest("the same release can be deployed again"):
          status, last = attempt("a2", NEW)
          assert (status, last["state"]) == (0, "awaiting-confirm"), last
          status, output = commit(NEW)
          assert status == 0, output
          machine.reboot()
          machine.wait_for_unit("multi-user.target")
          is_on(NEW)
    '';
}
