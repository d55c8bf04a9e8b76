# Works on what the web hosts have put into the queue; nothing connects to it.
{
  imports = [ ../common.nix ];

  flakeup.app.processes.worker = { };
}
