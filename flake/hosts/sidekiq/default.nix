# Runs scheduled jobs. It gets more time to settle: a job runner that cannot reach its queue gives up
# only after several attempts.
{
  imports = [ ../common.nix ];

  flakeup.app.processes.sidekiq.environment.CONCURRENCY = "5";
  flakeup.activation.settle = "20s";
}
