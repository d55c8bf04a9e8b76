# A Docker image like those of dockerTools.buildImage: an archive with one layer. All its timestamps
# are the epoch, so that builds are reproducible.
{ build, text }:
{
  name,
  tag,
  layer, # a script that writes layer.tar
  command,
  port,
  ...
}@args:
let
  config = builtins.toJSON {
    architecture = "amd64";
    os = "linux";
    created = "1970-01-01T00:00:01Z";
    config = {
      Cmd = command;
      Env = [ "PATH=/usr/sbin:/bin" ];
      ExposedPorts."${toString port}/tcp" = { };
    };
    rootfs = {
      type = "layers";
      diff_ids = [ "sha256:@layer@" ];
    };
  };
in
build (
  removeAttrs args [
    "tag"
    "layer"
    "command"
    "port"
  ]
  // {
    name = "docker-image-${name}.tar";
    inherit config;
    script = ''
      busybox() { /bin/busybox "$@"; }
      sum() { busybox sha256sum "$1" | busybox cut -d ' ' -f 1; }
      mkdir image
      cd image
      ${layer}
      printf %s "$config" | busybox sed "s/@layer@/$(sum layer.tar)/" > config.json
      config_name=$(sum config.json).json
      busybox mv config.json "$config_name"
      printf '[{"Config":"%s","RepoTags":[%s],"Layers":["layer.tar"]}]' \
        "$config_name" ${text.quote ''"${name}:${tag}"''} > manifest.json
      busybox touch -d 1970-01-01 manifest.json "$config_name" layer.tar
      busybox tar -cf "$out" manifest.json "$config_name" layer.tar
    '';
  }
)
