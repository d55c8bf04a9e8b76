# The host's own part of flakeup's `activation`: what must hold before a release is committed.
#
# `nix eval --json .#nixosConfigurations.web.config.flakeup.activation` returns it in the form that
# docs/config.md describes for `activation`. Keys that are not set here are absent there, so that the
# defaults stay flakeup's own. A value that flakeup would refuse fails the evaluation of the host.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  grammar = import ./grammar;

  isSet = _: value: value != null;
  unset = default: "If unset, flakeup's own default: ${default}.";
  key =
    type: example: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit example description;
    };

  check = {
    options = {
      http = key types.str "http://localhost:8080/health" ''
        A GET of this URL; redirects are not followed. Its host may contain only the placeholders
        `{address}` and `{name}`.
      '';
      tcp = key types.str "{address}:5432" "A connection to this host and port.";
      unit = key types.str "app-worker.service" "This systemd unit has to be active.";
      command = key types.str "test -e /run/app/ready" ''
        A command line for `sh` on the host, run as root, that has to exit with status 0.
      '';
      from = key (types.enum [
        "host"
        "deployer"
      ]) "deployer" "Who runs the check. ${unset "`host`"} `deployer` is for `http` and `tcp`.";
      status = key types.int 204 "The status of the response to `http`. ${unset "200"}";
      contains = key types.str "app {appRef} on {name}" "A text in the body of the response.";
      header = key types.str "X-Release: {appRef}" ''
        A text in a header line of the response, in upper or lower case.
      '';
      period = key types.str "2s" "The time between two attempts. ${unset "`1s`"}";
      timeout = key types.str "10s" "The time for each attempt. ${unset "`5s`"}";
      retries = key types.int 30 ''
        How many attempts may fail before the first successful one. ${unset "10"}
      '';
      hold = key types.str "30s" ''
        How long the check has to stay successful after its first success. ${unset "`0s`"}
      '';
    };
  };

  activation = {
    options = {
      settle = key types.str "20s" ''
        After the activation, how long the host's units have to stay healthy before checks start.
        ${unset "`10s`"}
      '';
      checkDeadline = key types.str "5m" ''
        The time for all checks on the host together, including `settle`. ${unset "`2m`"}
      '';
      confirm = key types.str "3m" ''
        The time from the end of the checks on the host to the commit, including the checks from the
        deployer. ${unset "`2m`"}
      '';
      mayFail = key (types.listOf types.str) [ "fetch-*.service" ] ''
        Units whose failure is no reason to roll back, at most 32; after its first character `*`
        stands for any text. ${unset "no unit"}
      '';
      checks = mkOption {
        type = types.attrsOf (types.submodule check);
        default = { };
        example = {
          web = {
            http = "http://localhost:8080/health";
            hold = "10s";
          };
          worker.unit = "app-worker.service";
        };
        description = ''
          The health checks by name, at most 16. Each has exactly one of `http`, `tcp`, `unit` and
          `command`.
        '';
      };
    };
  };
in
{
  options.flakeup.activation = mkOption {
    type = types.submodule activation;
    default = { };
    example = {
      settle = "20s";
      checks.web.http = "http://localhost:8080/health";
    };
    description = ''
      How flakeup checks this host before it commits a release: the keys of `activation` that
      belong to the host, in the same form.
    '';
    apply =
      set:
      lib.filterAttrs isSet (set // { checks = lib.mapAttrs (_: lib.filterAttrs isSet) set.checks; });
  };

  config.assertions = map (message: {
    assertion = false;
    message = "flakeup.activation.${message}";
  }) (grammar.problems config.flakeup.activation);
}
