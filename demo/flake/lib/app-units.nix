# The units that every host has.
{ app, host }:
{
  # One process a connection; a new release needs no restart of the socket, so no request is refused.
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

  # An answer under way ends with the old release: an instance cannot be started without its connection.
  # Instances that fail are forgotten, or each would be a failed unit of the host.
  "app@.service" = ''
    [Unit]
    Description=One request to the app
    CollectMode=inactive-or-failed
    X-RestartIfChanged=false
    [Service]
    ExecStart=/bin/sh ${app}/share/app/serve.sh ${host}
    StandardInput=socket
    StandardOutput=socket
    StandardError=journal
    RuntimeMaxSec=30
  '';

  # Changes, and so restarts, with every release.
  "app-worker.service" = ''
    [Unit]
    Description=The app's worker
    [Service]
    Type=exec
    ExecStart=/bin/sh ${app}/share/app/worker.sh
    [Install]
    WantedBy=multi-user.target
  '';

  # Never changes: a restart of it would be a fault of the deployment.
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
