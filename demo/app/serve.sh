#!/bin/sh
# Answers one HTTP request on stdin and stdout with this release's version, then ends.
# systemd starts it once for each connection (app.socket, Accept=yes), so the host needs nothing but sh.
# usage: serve.sh HOST   (the name of the host, for the answer)
set -eu
here=${0%/*}
host=${1:?usage: serve.sh HOST}
read -r version < "$here/VERSION"
# (no settings yet)

# All of the request is read before the answer: closing a socket that still holds unread bytes
# resets the connection, and the client may lose the answer.
cr=$(printf '\r')
read -r method _ || method=GET
while IFS= read -r line; do
    case ${line%"$cr"} in '') break ;; esac
done

body="app v$version on $host"
printf 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n' \
    $((${#body} + 1))
case $method in
HEAD) ;;
*) printf '%s\n' "$body" ;;
esac
