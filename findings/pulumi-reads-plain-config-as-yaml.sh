#!/bin/bash
# pulumi 3.259.0 (Go module github.com/pulumi/pulumi/pkg/v3): a value without quotes in Pulumi.STACK.yaml is
# what YAML makes of it, and is passed on as text again, without a word: a tag 2.10 is 2.1, a name 010 is 8, an
# id of thirty digits has lost half of them, 1_000 is 1000, a date has a time and a zone that nobody wrote. The
# reading is of neither YAML 1.1 nor 1.2 alone: 010 and 0o10 are both octal, yes and off stay text, and so does
# 12:30. `pulumi config set` quotes what it sets, so that only files edited by hand are concerned; but it writes
# all other values of the file again as it has read them, and then the file itself says 2.1. The program gets
# text, and cannot tell.
#
# Seen: what `pulumi config get` prints for each notation; the file after another key was set.
set -euo pipefail
version=v3.259.0
tmp=$(mktemp -d)
trap 'rm -rf -- "$tmp"' EXIT
changed=0
report() { # WHAT EXPECTED SEEN
    printf '%s: %s\n' "$1" "$3"
    [ "$2" = "$3" ] || { printf '  changed: it was %s\n' "$2" && changed=1; }
}

mkdir "$tmp/build" "$tmp/home" "$tmp/state" "$tmp/project"
cd "$tmp/build"
export GOFLAGS=-modcacherw
go mod init example.org/finding >"$tmp/log" 2>&1
{
    printf 'package main\n\nimport _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"\n' >tools.go
    go get "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi@$version"
    go build -o "$tmp/pulumi" github.com/pulumi/pulumi/pkg/v3/cmd/pulumi
} >>"$tmp/log" 2>&1 || { tail -n 5 "$tmp/log" >&2 && exit 1; }

cd "$tmp/project"
printf 'name: shop\nruntime: yaml\n' >Pulumi.yaml
export HOME=$tmp/home PULUMI_CONFIG_PASSPHRASE='' PULUMI_SKIP_UPDATE_CHECK=true PULUMI_BACKEND_URL=file://$tmp/state
pulumi() { "$tmp/pulumi" --non-interactive --color never "$@" 2>&1; }
pulumi stack init prod >/dev/null

while read -r written expected; do
    printf 'config:\n  shop:value: %s\n' "$written" >Pulumi.prod.yaml
    report "$written" "$expected" "$(pulumi config get value --stack prod)"
done <<'TABLE'
2.10 2.1
010 8
0o10 8
1_000 1000
1e5 100000
123456789012345678901234567890 1.2345678901234568e+29
2024-01-01 2024-01-01 00:00:00 +0000 UTC
yes yes
off off
12:30 12:30
TABLE
printf 'config:\n  shop:value: 2.10\n' >Pulumi.prod.yaml
pulumi config set other text --stack prod >/dev/null
report "2.10, after another key was set" "shop:value: \"2.1\"" "$(grep -o 'shop:value:.*' Pulumi.prod.yaml)"
pulumi config set value 2.10 --stack prod >/dev/null
report "as set by pulumi config set" "shop:value: \"2.10\"" "$(grep -o 'shop:value:.*' Pulumi.prod.yaml)"
exit "$changed"
