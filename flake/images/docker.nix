# The app as a container image, for hosts without NixOS: one process, `web`, and no systemd.
#
# The result is a script that writes the image to stdout (`result | docker load`), so that nothing
# large is in the store. The tag is left out on purpose: it is then the hash of the image's inputs,
# which evaluation knows (`imageTag`), and which no other image has.
{
  app,
  cacert,
  curlMinimal,
  dockerTools,
  lib,
}:
let
  port = "8080";
  # A number, so that it is obvious without reading the image that this is not root.
  uid = "1000";
in
dockerTools.streamLayeredImage {
  name = "app";
  contents = [
    cacert
    (dockerTools.fakeNss.override {
      extraPasswdLines = [ "app:x:${uid}:${uid}:app:/var/empty:/bin/false" ];
      extraGroupLines = [ "app:x:${uid}:" ];
    })
  ];
  extraCommands = "mkdir -m 1777 tmp";
  config = {
    User = "${uid}:${uid}";
    Cmd = [ (lib.getExe' app "web") ];
    Env = [
      "PORT=${port}"
      "SSL_CERT_FILE=${cacert}/etc/ssl/certs/ca-bundle.crt"
    ];
    ExposedPorts."${port}/tcp" = { };
    StopSignal = "SIGTERM";
    # Times are in nanoseconds. A container that does not become healthy is not deployed.
    Healthcheck = {
      Test = [
        "CMD"
        (lib.getExe curlMinimal)
        "--fail"
        "--silent"
        "--show-error"
        "--max-time"
        "4"
        "http://localhost:${port}/health"
      ];
      Interval = 5000000000;
      Timeout = 5000000000;
      StartPeriod = 30000000000;
      Retries = 3;
    };
  };
}
