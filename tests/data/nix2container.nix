# An image as nix2container.buildImage gives it (its lib/buildImage.nix and lib/copyTo.nix), where
# nix2container itself cannot be had: its skopeo needs nixpkgs. The image is a JSON text; `copyTo` alone
# can read it, and hands on to skopeo what it is given. Here the layers are those of an archive.
{
  build,
  name,
  archive,
}:
build {
  name = "image-${name}.json";
  inherit archive;
  script = ''
    printf '{"version":1,"image-config":{},"layers":[{"layer-path":"%s"}],"arch":"amd64"}' \
      "$archive" > $out
  '';
}
// {
  imageName = name;
  copyTo = build {
    name = "copy-to";
    inherit archive;
    script = ''
      mkdir -p $out/bin
      printf '#!/bin/sh\nset -eu\necho Running skopeo --insecure-policy copy "nix:%s" "$@"\n' \
        "$archive" > $out/bin/copy-to
      printf 'exec skopeo --insecure-policy copy "docker-archive:%s" "$@"\n' \
        "$archive" >> $out/bin/copy-to
      chmod +x $out/bin/copy-to
    '';
  };
}
