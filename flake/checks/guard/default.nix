# What the guard of an activation has to hold against, on real NixOS: with the script that flakeup
# sends, and over ssh as flakeup sends it.
{
  boot = ./boot.nix;
  reboot = ./reboot.nix;
  sshd = ./sshd.nix;
  unit = ./unit.nix;
}
