# The options of a host in hosts.json, with their defaults; unknown options and faults are errors.
{ name, options }:
let
  defaults = {
    system = "x86_64-linux";
    activationSeconds = 0; # how long `activate` sleeps
    extraText = ""; # goes to etc/extra-text: changes the toplevel, but no unit
    activation = { }; # config.flakeup.activation of the host
    units = { }; # unit file or drop-in (ssh.service.d/port.conf) -> its text
    faults = { }; # fault -> its parameter as text (faults.nix)
    kernel = "6.12.58";
    kernelParams = "loglevel=4"; # these two and the kernel decide whether a reboot is needed
    initInterface = "systemd 2";
    payloadPaths = 0; # this many extra store paths, to have something to copy
    payloadMegabytes = 5; # the size of each
    payloadSeed = ""; # changes the content
  };
  unknown = builtins.attrNames (removeAttrs options (builtins.attrNames defaults));
  badUnits = builtins.filter (unit: builtins.match "[A-Za-z0-9:_.@/-]+" unit == null) (
    builtins.attrNames (options.units or { })
  );
in
if unknown != [ ] then
  throw "hosts.json: ${name}.${builtins.head unknown}: no such option; there are ${toString (builtins.attrNames defaults)}"
else if badUnits != [ ] then
  throw "hosts.json: ${name}.units: ${builtins.toJSON (builtins.head badUnits)} is no unit name"
else
  defaults // options
