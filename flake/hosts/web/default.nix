# Answers http requests.
{
  imports = [ ../common.nix ];

  flakeup.app.processes.web = {
    port = 8080;
    healthPath = "/health";
  };
  # Seen from outside too: that the firewall lets requests through is part of being well.
  flakeup.activation.checks.outside = {
    http = "http://{address}:8080/health";
    from = "deployer";
  };
}
