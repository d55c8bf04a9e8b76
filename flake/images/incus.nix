# The two files of a split Incus image: `incus image import METADATA ROOTFS`.
host:
let
  inherit (host.config.system.build) metadata squashfs;
in
{
  inherit metadata;
  rootfs = squashfs;
}
