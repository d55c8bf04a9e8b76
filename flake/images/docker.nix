# The app as a container image, for hosts that are no NixOS: one process, `web`, and no systemd.
#
# Its result is a script that writes the image to stdout (`result | docker load`), so that nothing
# large is in the store. The tag is left out on purpose: it is then the hash of the image's inputs,
# which an evaluation knows (`imageTag`), and which no other image can have.
{
  app,
  cacert,
  curlMinimal,
  dockerTools,
  lib,
}:
let
  port = "8080";
  # Numbers, so that a host can see that this is not root without reading the image.
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
    # Docker's own form: times in nanoseconds. A container that never gets well is not taken.
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
