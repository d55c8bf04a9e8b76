# The Docker images: the app on busybox, and its edge (HAProxy, if `base.json`, which demo/base writes,
# names the layer of tools/bootstrap).
{
  build,
  text,
  release,
  version,
  base,
}:
let
  image = import ./docker.nix { inherit build text; };
  tag = "v${version}";
in
{
  app-image = image {
    name = "app-image";
    inherit tag;
    port = 8080;
    command = [
      "/bin/busybox"
      "nc"
      "-ll"
      "-p"
      "8080"
      "-e"
      "/app/answer"
    ];
    layer = ''
      mkdir -p root/bin root/app
      cp /bin/busybox root/bin/busybox
      ln -s busybox root/bin/sh
      cp ${release}/share/app/* root/app/
      printf '#!/bin/sh\nexec /bin/sh /app/serve.sh docker\n' > root/app/answer
      chmod +x root/app/answer
      busybox find root -exec busybox touch -h -d 1970-01-01 {} +
      busybox tar -cf layer.tar -C root bin app
      busybox rm -rf root
    '';
  };
}
// (
  if base ? edge then
    {
      edge-image = image {
        name = "edge-image";
        tag = "haproxy";
        port = 8080;
        command = [ "haproxy" ];
        haproxy = builtins.fetchurl { inherit (base.edge) url sha256; };
        layer = ''cp "$haproxy" layer.tar'';
      };
    }
  else
    { }
)
