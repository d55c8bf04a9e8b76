# A system without the app, small enough to be an image: sshd, Nix and the deploy user.
{
  imports = [ ../common.nix ];

  # Nothing is ever staged on it, and the instance's own system has a guard.
  flakeup.bootGuard.enable = false;
}
