#!/bin/sh
# What `activate` would do; it changes nothing.
set -eu
echo "would point /etc/static to $OUT/etc and /run/current-system to $OUT" >&2
