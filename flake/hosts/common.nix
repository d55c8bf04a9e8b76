# What the roles share, and what an environment changes about them.
{ environment, lib, ... }:
{
  flakeup = {
    # Your own keys: CI's, and those of the people who deploy.
    deploy.authorizedKeys = [ (import ../modules/placeholder-key.nix) ];

    app.environment = {
      APP_ENV = environment;
      LOG_LEVEL = if environment == "production" then "info" else "debug";
    };

    # Nobody sits beside staging: a host that comes up whole may keep what it has booted.
    bootGuard.confirm = lib.mkIf (environment == "staging") "healthy";
  };

  # The release that a host was first installed with; it stays when nixpkgs moves on.
  system.stateVersion = "26.05";
}
