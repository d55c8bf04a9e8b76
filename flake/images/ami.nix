# Laid over a host for its image alone (`system.build.images.amazon`), not over the host itself.
{
  # What the EBS direct APIs take, block by block; a VHD uploads too, and does not boot.
  amazonImage.format = "raw";
  # As large as its content, and some room: the disk grows with the volume at the first boot.
  virtualisation.diskSize = "auto";
}
