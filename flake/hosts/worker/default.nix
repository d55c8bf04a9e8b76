# Processes the queue of the web hosts; nothing connects to it.
{
  imports = [ ../common.nix ];

  flakeup.app.processes.worker = { };
}
