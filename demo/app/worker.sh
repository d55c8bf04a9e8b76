#!/bin/sh
# The app's long-running part: says which release it is, then waits to be stopped.
set -eu
here=${0%/*}
read -r version < "$here/VERSION"
# (no settings yet)

echo "app worker v$version is running"
exec sleep infinity
