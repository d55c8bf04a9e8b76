# The edge of a service in Docker: HAProxy, which flakeup gives its configuration
# (/etc/haproxy/haproxy.cfg) and its command. It stays where it is when a release comes.
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
  # The folder has to be there before its file can be put into it.
  extraCommands = ''
    mkdir -p etc/haproxy
    mkdir -m 1777 tmp
  '';
  config = {
    # Docker lets everybody in a container listen on any of its ports.
    User = "${uid}:${uid}";
    Cmd = [
      (lib.getExe haproxy)
      "-v"
    ];
    # flakeup calls it by its name.
    Env = [ "PATH=/bin" ];
    StopSignal = "SIGUSR1";
  };
}
