# The units of every host.
{ app, host }:
let
  target = description: more: ''
    [Unit]
    Description=${description}
    ${more}
  '';
in
# NixOS's own program starts the targets of its systems, and no others.
(
  if import ./switch-program.nix == null then
    { }
  else
    {
      "sysinit-reactivation.target" = target "Units of early boot that a switch restarts" "";
      "multi-user.target" = target "Multi-User System" ''
        Requires=basic.target
        After=basic.target
        AllowIsolate=yes
      '';
      "sockets.target" = target "Socket Units" "";
      "timers.target" = target "Timer Units" "DefaultDependencies=no";
    }
)
// {
  # One process per connection; the socket is not restarted by a release, so no request is refused.
  "app.socket" = ''
    [Unit]
    Description=The app's port
    [Socket]
    ListenStream=8080
    Accept=yes
    TriggerLimitIntervalSec=0
    [Install]
    WantedBy=sockets.target
  '';

  # A request in progress is finished by the old release, as an instance needs its connection to start.
  # CollectMode: a failed instance must not count as a failed unit of the host.
  "app@.service" = ''
    [Unit]
    Description=One request to the app
    CollectMode=inactive-or-failed
    [Service]
    X-RestartIfChanged=false
    ExecStart=/bin/sh ${app}/share/app/serve.sh ${host}
    StandardInput=socket
    StandardOutput=socket
    StandardError=journal
    RuntimeMaxSec=30
  '';

  # Changes, and thus is restarted, with every release.
  "app-worker.service" = ''
    [Unit]
    Description=The app's worker
    [Service]
    Type=exec
    ExecStart=/bin/sh ${app}/share/app/worker.sh
    [Install]
    WantedBy=multi-user.target
  '';

  # Never changes, so a deployment must not restart it.
  "steady.service" = ''
    [Unit]
    Description=A unit that no release touches
    [Service]
    Type=exec
    ExecStart=/bin/sh -c "exec sleep infinity"
    [Install]
    WantedBy=multi-user.target
  '';
}
