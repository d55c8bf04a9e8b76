# The host's own part of flakeup's `activation` map: what must hold before a release is committed.
#
# `nix eval --json .#nixosConfigurations.web.config.flakeup.activation` gives it in the shape that
# docs/config.md has for `activation`: keys that are left out here are left out there, so that the
# defaults stay flakeup's own. What flakeup would refuse fails the evaluation of the host.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  grammar = import ./grammar;

  isSet = _: value: value != null;
  left = default: "Left out, it is flakeup's own default, ${default}.";
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
        A GET of this url; redirects are not followed. In its host only `{address}` and `{name}`
        may stand.
      '';
      tcp = key types.str "{address}:5432" "A connection to this host and port.";
      unit = key types.str "app-worker.service" "This systemd unit is active.";
      command = key types.str "test -e /run/app/ready" ''
        A command line for `sh` on the host, as root, that ends with 0.
      '';
      from = key (types.enum [
        "host"
        "deployer"
      ]) "deployer" "Who makes the check. ${left "`host`"} `deployer` goes with `http` and `tcp`.";
      status = key types.int 204 "The status of the answer to `http`. ${left "200"}";
      contains = key types.str "app {appRef} on {name}" "What the body of the answer contains.";
      header = key types.str "X-Release: {appRef}" ''
        What one header line of the answer contains, in capital or small letters.
      '';
      period = key types.str "2s" "Between two tries. ${left "`1s`"}";
      timeout = key types.str "10s" "For each try. ${left "`5s`"}";
      retries = key types.int 30 ''
        How many tries may fail before the first good one. ${left "10"}
      '';
      hold = key types.str "30s" ''
        How long the check must stay good after its first good try. ${left "`0s`"}
      '';
    };
  };

  activation = {
    options = {
      settle = key types.str "20s" ''
        After the activation, how long the host's units must stay good before the checks begin.
        ${left "`10s`"}
      '';
      checkDeadline = key types.str "5m" ''
        For all checks on the host together, `settle` included. ${left "`2m`"}
      '';
      confirm = key types.str "3m" ''
        From the end of the checks on the host to the commit; the checks from the deployer are made
        within it. ${left "`2m`"}
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
          The health checks by name, at most 16: exactly one of `http`, `tcp`, `unit` and `command`
          in each.
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
      How flakeup looks at this host before it commits a release: the keys of `activation` that
      belong to the host, in the same shape.
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
