#!/bin/sh
# Stage 2: activates the system, then starts systemd. The demo's Debian hosts boot their own init, and
# activate the profile from a unit; this is for containers that start a toplevel.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
"$OUT/activate"
exec /lib/systemd/systemd "$@"
