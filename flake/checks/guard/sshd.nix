# A release whose sshd runs but lets nobody in: no check on the host notices. It cannot be confirmed,
# so the host rolls back by itself.
runner:
{
  begin,
  lib,
  pkgs,
  ...
}:
{
  imports = [ (import ./common.nix runner) ];
  name = "flakeup-guard-sshd";

  nodes.machine.specialisation.deaf.configuration = {
    systemd.services.sshd.serviceConfig = {
      Type = lib.mkForce "simple";
      ExecStart = lib.mkForce "${pkgs.coreutils}/bin/sleep infinity";
    };
  };

  testScript =
    { nodes, ... }:
    ''
      ${begin { inherit nodes; }}
      NEW = "${nodes.machine.specialisation.deaf.configuration.system.build.toplevel}"

      begin()

      with subtest("the host considers it healthy"):
          status, last = attempt("a1", NEW)
          assert (status, last["state"]) == (0, "awaiting-confirm"), last
          is_on(NEW)

      with subtest("nobody can confirm it"):
          assert not reaches()
          assert commit(NEW)[0] == 255
          boots(OLD)

      with subtest("the host rolls back alone"):
          machine.wait_until_succeeds(
              "grep -qx rolled-back /nix/var/flakeup/attempts/a1/state", timeout=120
          )
          is_on(OLD)
          boots(OLD)
          deployer.wait_until_succeeds(f"{SSH} sudo -n true", timeout=60)
          assert machine.succeed("cat /nix/var/flakeup/attempts/a1/exit").strip() == "22"
    '';
}
