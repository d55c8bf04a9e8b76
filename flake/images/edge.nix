# The edge of a service in Docker: HAProxy. flakeup gives it its configuration
# (/etc/haproxy/haproxy.cfg) and its command, and keeps it running when a release is deployed.
{
  dockerTools,
  haproxy,
  lib,
}:
let
  uid = "1000";
in
dockerTools.streamLayeredImage {
  name = "edge";
  contents = [
    haproxy
    (dockerTools.fakeNss.override {
      extraPasswdLines = [ "edge:x:${uid}:${uid}:edge:/var/empty:/bin/false" ];
      extraGroupLines = [ "edge:x:${uid}:" ];
    })
  ];
  # The folder has to exist before flakeup can put the file into it.
  extraCommands = ''
    mkdir -p etc/haproxy
    mkdir -m 1777 tmp
  '';
  config = {
    # In a container of Docker, every user may listen on any port.
    User = "${uid}:${uid}";
    Cmd = [
      (lib.getExe haproxy)
      "-v"
    ];
    # flakeup calls `haproxy` by its name.
    Env = [ "PATH=/bin" ];
    StopSignal = "SIGUSR1";
  };
}
