# The faults that the guard of an activation has to survive, on real NixOS: with the script that
# flakeup sends, and over ssh, as flakeup does.
{
  boot = ./boot.nix;
  reboot = ./reboot.nix;
  sshd = ./sshd.nix;
  unit = ./unit.nix;
}
