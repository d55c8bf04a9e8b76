#!/bin/bash
# pulumi 3.259.0 (Go module github.com/pulumi/pulumi/pkg/v3), backend file://: next to each file of the
# state is NAME.attrs, with its content type and checksum. The state itself is written to a temporary
# file and renamed; the attributes are written in place (gocloud.dev, fileblob, its default). An engine
# that ends between the two steps of that (SIGKILL, a full disk, a power cut) leaves them empty, and then
# the stack, whose state is whole, cannot be read: `failed to load checkpoint: EOF`; `pulumi stack ls`
# fails for all stacks of the project, and `pulumi cancel` with the same words. Removing the .attrs file
# helps; with `?metadata=skip` at the end of the URL none is written (a stack is selected for one URL,
# so it has to be selected again).
#
# Seen: the attributes keep their inode over an update of the state, which gets another; what each
# command says with empty attributes; that it works again without them; that the parameter writes none.
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
export HOME=$tmp/home PULUMI_CONFIG_PASSPHRASE='' PULUMI_SKIP_UPDATE_CHECK=true
url=file://$tmp/state
pulumi() { PULUMI_BACKEND_URL=$url "$tmp/pulumi" --non-interactive --color never "$@" 2>&1; }
state=$tmp/state/.pulumi/stacks/shop/prod.json

pulumi stack init prod >/dev/null
before="$(stat -c %i "$state") $(stat -c %i "$state.attrs")"
pulumi stack export --stack prod >"$tmp/exported"
pulumi stack import --stack prod --file "$tmp/exported" >/dev/null
after="$(stat -c %i "$state") $(stat -c %i "$state.attrs")"
report "the state is another file after an update" yes "$([ "${before% *}" != "${after% *}" ] && echo yes || echo no)"
report "its attributes are the same file" yes "$([ "${before#* }" = "${after#* }" ] && echo yes || echo no)"

: >"$state.attrs"
report "export, with empty attributes" "error: failed to load checkpoint: EOF" "$(pulumi stack export --stack prod | tail -n 1)"
report "cancel" "error: failed to load checkpoint: EOF" "$(pulumi cancel --yes --stack prod | tail -n 1)"
report "stack ls" "error: EOF" "$(pulumi stack ls | tail -n 1)"
rm "$state.attrs"
report "export without them" 0 "$(pulumi stack export --stack prod >/dev/null && echo 0 || echo $?)"
url="$url?metadata=skip"
pulumi stack import --stack prod --file "$tmp/exported" >/dev/null
report "an update with ?metadata=skip writes them" no "$([ -e "$state.attrs" ] && echo yes || echo no)"
exit "$changed"
