# The app's own flake: its image, for services with `from: app`. Like the infra flake, it does without
# nixpkgs: busybox and these scripts, in an archive with one layer.
{
  description = "the demo's app";

  outputs =
    { self }:
    let
      system = "x86_64-linux";
      config = {
        architecture = "amd64";
        os = "linux";
        created = "1970-01-01T00:00:01Z";
        config = {
          Cmd = [
            "/bin/busybox"
            "nc"
            "-ll"
            "-p"
            "8080"
            "-e"
            "/app/answer"
          ];
          Env = [ "PATH=/bin" ];
          ExposedPorts."8080/tcp" = { };
        };
        rootfs = {
          type = "layers";
          diff_ids = [ "sha256:@layer@" ];
        };
      };
    in
    {
      packages.${system}.app-image = derivation {
        name = "docker-image-app-image.tar";
        inherit system;
        src = "${self}";
        config = builtins.toJSON config;
        builder = "/bin/sh";
        args = [
          "-euc"
          ''
            busybox() { /bin/busybox "$@"; }
            sum() { busybox sha256sum "$1" | busybox cut -d ' ' -f 1; }
            busybox mkdir -p image root/bin root/app
            busybox cp /bin/busybox root/bin/busybox
            busybox ln -s busybox root/bin/sh
            busybox cp "$src/VERSION" "$src/serve.sh" root/app/
            printf '#!/bin/sh\nexec /bin/sh /app/serve.sh docker\n' > root/app/answer
            busybox chmod -R u+w root
            busybox chmod +x root/app/answer
            busybox find root -exec /bin/busybox touch -h -d 1970-01-01 {} +
            busybox tar -cf image/layer.tar -C root bin app
            cd image
            printf %s "$config" | busybox sed "s/@layer@/$(sum layer.tar)/" > config.json
            name=$(sum config.json).json
            busybox mv config.json "$name"
            printf '[{"Config":"%s","RepoTags":["app-image:own"],"Layers":["layer.tar"]}]' \
              "$name" > manifest.json
            busybox touch -d 1970-01-01 manifest.json "$name" layer.tar
            busybox tar -cf "$out" manifest.json "$name" layer.tar
          ''
        ];
        preferLocalBuild = true;
        allowSubstitutes = false;
      };
    };
}
