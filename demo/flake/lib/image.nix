# An Incus image in the two parts that NixOS's lxc-container.nix gives: metadata and a squashfs. The
# root is the one that tools/bootstrap has made (`base.json` names it, demo/base writes that); what is
# built here lets one key in, by a template that Incus fills in when an instance is made.
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
