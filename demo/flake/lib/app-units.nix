# The units of every host.
{ app, host }:
{
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
    X-RestartIfChanged=false
    [Service]
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
