# An Incus image in two parts, metadata and a squashfs, like that of NixOS's lxc-container.nix. The root
# is that of tools/bootstrap, as named in `base.json`, which demo/base writes. The metadata authorizes
# a key, by a template that Incus renders when it creates an instance.
{
  name,
  base,
  build,
  text,
  system,
}:
let
  architecture = builtins.head (builtins.split "-" system);
  keys = text.concatLines base.authorizedKeys;
  metadata = ''
    architecture: ${architecture}
    creation_date: 1
    properties:
      description: ${name}, a root of the demo
      os: demo
    templates:
      /root/.ssh/authorized_keys:
        when: [create]
        template: keys.tpl
        mode: "0600"
      /home/deploy/.ssh/authorized_keys:
        when: [create]
        template: keys.tpl
        mode: "0644"
  '';
in
{
  metadata = build {
    name = "nixos-lxc-image-metadata";
    inherit metadata keys;
    script = ''
      mkdir -p $out/tarball root/templates
      printf %s "$metadata" > root/metadata.yaml
      printf '%s\n' "$keys" > root/templates/keys.tpl
      /bin/busybox find root -exec /bin/busybox touch -d 1970-01-01 {} +
      /bin/busybox tar -cf $out/tarball/nixos-lxc-image-${system}.tar -C root metadata.yaml templates
    '';
  };

  squashfs = build {
    name = "nixos-lxc-image";
    root = builtins.fetchurl { inherit (base.squashfs) url sha256; };
    script = ''
      mkdir $out
      ln -s "$root" $out/nixos-lxc-image-${system}.squashfs
    '';
  };
}
