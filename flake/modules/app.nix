# The app: a systemd service for each of its processes that a host runs, and a health check for each,
# so that a release that does not come up is rolled back.
{
  config,
  inputs,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.flakeup.app;

  process =
    { name, ... }:
    {
      options = {
        command = mkOption {
          type = types.str;
          default = lib.getExe' cfg.package name;
          defaultText = lib.literalMD "the program of that name in `flakeup.app.package`";
          example = lib.literalExpression ''"''${config.flakeup.app.package}/bin/worker --queue mail"'';
          description = "What is run, as systemd's `ExecStart=` takes it.";
        };
        port = mkOption {
          type = types.nullOr types.port;
          default = null;
          example = 8080;
          description = "The port that the process listens on: it is passed as `PORT`, and opened in the firewall.";
        };
        healthPath = mkOption {
          type = types.nullOr (types.strMatching "/[A-Za-z0-9._~/-]*");
          default = null;
          example = "/health";
          description = ''
            The path that answers 200 when the process is healthy. Without it, its unit has to stay
            active.
          '';
        };
        environment = mkOption {
          type = types.attrsOf types.str;
          default = { };
          example.QUEUES = "mail,default";
          description = "Environment variables of this process only. Secrets belong in `credentials`.";
        };
      };
    };

  service = name: it: {
    description = "The app's ${name}";
    wantedBy = [ "multi-user.target" ];
    wants = [ "network-online.target" ];
    after = [ "network-online.target" ];
    environment =
      cfg.environment
      // it.environment
      // lib.optionalAttrs (it.port != null) { PORT = toString it.port; };
    serviceConfig = {
      ExecStart = it.command;
      User = "app";
      Group = "app";
      StateDirectory = "app";
      WorkingDirectory = "/var/lib/app";
      LoadCredential = lib.mapAttrsToList (key: path: "${key}:${path}") cfg.credentials;
      Restart = "on-failure";
      RestartSec = 2;
      # What an app does not need, and an attacker would use.
      CapabilityBoundingSet = "";
      LockPersonality = true;
      NoNewPrivileges = true;
      PrivateDevices = true;
      PrivateTmp = true;
      ProtectClock = true;
      ProtectControlGroups = true;
      ProtectHome = true;
      ProtectKernelLogs = true;
      ProtectKernelModules = true;
      ProtectKernelTunables = true;
      ProtectSystem = "strict";
      RestrictAddressFamilies = [
        "AF_UNIX"
        "AF_INET"
        "AF_INET6"
      ];
      RestrictNamespaces = true;
      RestrictRealtime = true;
      RestrictSUIDSGID = true;
      SystemCallArchitectures = "native";
    };
  };

  check =
    name: it:
    if it.port != null && it.healthPath != null then
      {
        http = "http://localhost:${toString it.port}${it.healthPath}";
        hold = "10s";
      }
    else
      {
        unit = "app-${name}.service";
        hold = "10s";
      };

  ports = lib.filter (port: port != null) (lib.mapAttrsToList (_: it: it.port) cfg.processes);
in
{
  options.flakeup.app = {
    package = mkOption {
      type = types.package;
      default = pkgs.callPackage "${inputs.app}/package.nix" { };
      defaultText = lib.literalExpression ''pkgs.callPackage "''${inputs.app}/package.nix" { }'';
      example = lib.literalExpression "inputs.app.packages.\${pkgs.stdenv.hostPlatform.system}.default";
      description = ''
        The app, built with this flake's packages: `package.nix` of the input `app`, which `appRef`
        pins. Its programs have the names of the processes.
      '';
    };
    processes = mkOption {
      type = types.attrsOf (types.submodule process);
      default = { };
      example.web = {
        port = 8080;
        healthPath = "/health";
      };
      description = ''
        The processes of the app that this host runs, by name: `web` is the service
        `app-web.service`, which runs the package's program `web`.
      '';
    };
    environment = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example.LOG_LEVEL = "info";
      description = "Environment variables of all processes of the app.";
    };
    credentials = mkOption {
      type = types.attrsOf (types.strMatching "/.*");
      default = { };
      example = lib.literalExpression "{ database-url = config.sops.secrets.database-url.path; }";
      description = ''
        Secrets of all processes of the app: files on the host, which it reads as
        `$CREDENTIALS_DIRECTORY/<name>`. They are neither in the store nor in the environment.
      '';
    };
  };

  config = lib.mkIf (cfg.processes != { }) {
    assertions = lib.mapAttrsToList (name: path: {
      assertion = !lib.hasPrefix builtins.storeDir path;
      message = "flakeup.app.credentials.${name} is in the store, where every user can read it";
    }) cfg.credentials;

    users.users.app = {
      isSystemUser = true;
      group = "app";
      description = "runs the app";
    };
    users.groups.app = { };

    systemd.services = lib.mapAttrs' (
      name: it: lib.nameValuePair "app-${name}" (service name it)
    ) cfg.processes;
    # A check of the same name in a host's own configuration replaces this one.
    flakeup.activation.checks = lib.mapAttrs (name: it: lib.mkDefault (check name it)) cfg.processes;
    networking.firewall.allowedTCPPorts = ports;
  };
}
