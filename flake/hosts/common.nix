# What all roles share, and how the environment changes it.
{ environment, lib, ... }:
{
  flakeup = {
    # Put your own keys here: CI's, and those of the people who deploy.
    deploy.authorizedKeys = [ (import ../modules/placeholder-key.nix) ];

    app.environment = {
      APP_ENV = environment;
      LOG_LEVEL = if environment == "production" then "info" else "debug";
    };

    # Nobody watches staging: a host that boots without failed units may keep the release.
    bootGuard.confirm = lib.mkIf (environment == "staging") "healthy";
  };

  # The release that a host was first installed with; it does not change with nixpkgs.
  system.stateVersion = "26.05";
}
