# The two files of an Incus image in its split form: `incus image import METADATA ROOTFS`.
host:
let
  inherit (host.config.system.build) metadata squashfs;
in
{
  inherit metadata;
  rootfs = squashfs;
}
