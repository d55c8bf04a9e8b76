# Serves HTTP requests.
{
  imports = [ ../common.nix ];

  flakeup.app.processes.web = {
    port = 8080;
    healthPath = "/health";
  };
  # Checked from outside too: a healthy host's firewall lets requests through.
  flakeup.activation.checks.outside = {
    http = "http://{address}:8080/health";
    from = "deployer";
  };
}
