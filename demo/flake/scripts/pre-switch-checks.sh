#!/bin/sh
# Checks before anything is changed. usage: pre-switch-checks TOPLEVEL ACTION
set -eu
if [ -e "$OUT/faults/check-takes" ]; then
    sleep "$(cat "$OUT/faults/check-takes")"
fi
if [ -e "$OUT/faults/check-fails" ]; then
    echo "there are changes to critical components of the system; switching into it is not safe" >&2
    cat "$OUT/faults/check-fails" >&2
    exit 1
fi
