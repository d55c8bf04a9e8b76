# Two machines: `machine` is deployed to, `deployer` logs in over ssh. New systems are specialisations
# of `machine`, so that everything they need is there.
runner:
{ hostPkgs, lib, ... }:
let
  keys = import (hostPkgs.path + "/nixos/tests/ssh-keys.nix") hostPkgs;
  script = hostPkgs.writeText "flakeup-runner" runner;
in
{
  nodes.machine = {
    imports = [
      ../../modules/base.nix
      ../../modules/boot-guard.nix
      ../../modules/health.nix
    ];

    flakeup.deploy.authorizedKeys = [ keys.snakeOilEd25519PublicKey ];
    system.switch.enable = true;
    # The machine has a disk of its own, so the script must be in its closure.
    system.extraDependencies = [ script ];
    # The test driver sets a password for root.
    users.users.root.hashedPassword = lib.mkForce null;

    # A real boot loader on a disk, so that it decides what boots next.
    virtualisation = {
      useBootLoader = true;
      useEFIBoot = true;
      memorySize = 2048;
    };
    boot.loader = {
      systemd-boot.enable = true;
      efi.canTouchEfiVariables = true;
      timeout = 0;
    };
    # The test's disk has no room for a second copy of the store; nothing is built here.
    nix.gc.automatic = lib.mkForce false;
  };

  nodes.deployer = {
    environment.etc."ssh-key" = {
      source = keys.snakeOilEd25519PrivateKey;
      mode = "0600";
    };
  };

  # Each test starts with both machines up, the runner published and the host key pinned.
  _module.args.begin =
    { nodes }:
    # python
    ''
      import json

      OLD = "${nodes.machine.system.build.toplevel}"
      PROFILE = "/nix/var/nix/profiles/system"
      SSH = "ssh -F none -i /etc/ssh-key -o BatchMode=yes -o ConnectTimeout=5 deploy@machine"

      def publish() -> None:
          machine.succeed(
              "mkdir -p /run/flakeup",
              "install -m 0700 ${script} /run/flakeup/new",
              "mv /run/flakeup/new /run/flakeup/switch",
          )

      def begin() -> None:
          machine.start(allow_reboot=True)
          deployer.start()
          machine.wait_for_open_port(22)
          machine.wait_for_unit("multi-user.target")
          deployer.wait_for_unit("multi-user.target")
          key = machine.succeed("cat /etc/ssh/ssh_host_ed25519_key.pub").strip()
          deployer.succeed(f"mkdir -p /root/.ssh; echo 'machine {key}' > /root/.ssh/known_hosts")
          # It can log in now, so that a later failure means something.
          deployer.wait_until_succeeds(f"{SSH} sudo -n true", timeout=60)
          publish()
          machine.succeed(f"test $(readlink -e {PROFILE}) = {OLD}")

      def reaches() -> bool:
          return deployer.execute(f"{SSH} sudo -n true")[0] == 0

      # The attempt, as flakeup starts it: a spec on stdin, and JSON lines, the last one the result.
      def attempt(name: str, new: str, **changed: object) -> tuple[int, dict[str, str]]:
          settings = {
              "mode": "switch",
              "timeout": 120,
              "settle": 3,
              "deadline": 30,
              "confirm": 30,
              "commit": 60,
              "keep": 0,
              "by": "the test",
          } | changed
          spec = "\\n".join(f"{key} {value}" for key, value in settings.items()) + "\\nend"
          status, output = machine.execute(
              f"printf '{spec}\\n' | sh /run/flakeup/switch start {name} {OLD} {new}", timeout=300
          )
          while status == 10:
              status, output = machine.execute(
                  f"sh /run/flakeup/switch follow {name} 0", timeout=300
              )
          return status, json.loads(output.strip().splitlines()[-1])

      def commit(new: str) -> tuple[int, str]:
          return deployer.execute(f"{SSH} sudo -n /bin/sh /run/flakeup/switch {new}", timeout=300)

      def is_on(system: str) -> None:
          machine.succeed(f"test $(readlink -e /run/current-system) = {system}")

      def boots(system: str) -> None:
          machine.succeed(f"test $(readlink -e {PROFILE}) = {system}")

      def state(name: str) -> str:
          return machine.succeed(f"cat /nix/var/flakeup/attempts/{name}/state").strip()
    '';
}
