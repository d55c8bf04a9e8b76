# Applied to a host's image only (`system.build.images.amazon`), not to the host itself.
{
  # For the EBS direct APIs, which take it block by block; a VHD can be uploaded, but does not boot.
  amazonImage.format = "raw";
  # The size of its content plus some room: the disk grows to its volume at the first boot.
  virtualisation.diskSize = "auto";
}
