# Faults are part of a configuration: each is a file faults/<name> in the toplevel, which the scripts
# read, and some add a unit.
{ name, faults }:
let
  known = {
    eval-fails = "evaluation throws";
    build-fails = "the toplevel's builder exits 1";
    check-fails = "the pre-switch check says this, and exits 1";
    check-takes = "the pre-switch check takes this many seconds";
    boot-fails = "the boot loader cannot be installed";
    boot-takes = "installing the boot loader takes this many seconds";
    boot-hangs = "installing the boot loader never ends, and ignores SIGTERM";
    activate-fails = "the activation script goes on to its end and exits 1";
    activate-hangs = "the activation script never ends, and ignores SIGTERM";
    activate-eats = "the activation script takes this many MB of memory";
    activate-floods = "the activation script writes this many MB, with control characters in them";
    snippet-fails = "this snippet of the activation script fails, and the others run";
    restart-list = "the activation script wants these units restarted, whether they exist or not";
    reload-list = "the activation script wants these units reloaded, whether they can or not";
    user-activation-fails = "the units of this user cannot be activated";
    stops-dbus = "the system bus is stopped: `stop`, with the units; `activate`, by the activation script";
    stops-logind = "logind is masked, and stopped by the activation script";
    freezes-logind = "the activation script freezes logind; a call then waits this many seconds";
    points-init = "the activation script points /sbin/init at this file of the system: `init`, `prepare-root`";
    reload-loop = "a unit makes systemd reload all the time, with pauses of this many seconds";
    isolates = "a unit isolates multi-user.target after this many seconds";
    unit-fails = "a unit exits 1 at once";
    unit-fails-late = "a unit exits 1 after this many seconds";
    tools-broken = "the system's own cat, flock, mv, readlink and systemctl do nothing but fail";
    app-answers = "the app says that it is this version";
    sshd-stopped = "sshd is not part of the system: stopped, and not started";
    sshd-port = "sshd listens on this port alone";
    sshd-invalid = "sshd cannot read its configuration, and does not start";
    sshd-host-key = "sshd has a host key that nobody knows";
    sshd-keys = "no key is let in";
    net-blackhole = "no way back to this address";
    net-link-down = "this network interface is down";
    net-drop = "all that comes in by this network interface is dropped";
  };
  unknown = builtins.attrNames (removeAttrs faults (builtins.attrNames known));
  service = description: command: ''
    [Unit]
    Description=${description}
    [Service]
    Type=exec
    ExecStart=/bin/sh -c "${command}"
  '';
  # Fault -> the unit that it adds.
  units = {
    unit-fails."broken.service" =
      service "A unit that fails" "echo cannot read its configuration; exit 1";
    unit-fails-late."breaks-later.service" =
      service "A unit that fails" "sleep ${faults.unit-fails-late}; echo lost its database; exit 1";
    reload-loop."reloads.service" =
      service "A unit that makes systemd reload" "while sleep ${faults.reload-loop}; do systemctl daemon-reload; done";
    isolates."isolates.service" =
      service "A unit that isolates a target" "sleep ${faults.isolates}; systemctl isolate multi-user.target; exec sleep infinity";
  };
in
if unknown != [ ] then
  throw "hosts.json: ${name}.faults.${builtins.head unknown}: no such fault; there are ${toString (builtins.attrNames known)}"
else if faults ? eval-fails then
  throw "hosts.json: ${name}: this host does not evaluate (fault eval-fails)"
else
  {
    units = builtins.foldl' (all: fault: all // (units.${fault} or { })) { } (builtins.attrNames faults);
  }
