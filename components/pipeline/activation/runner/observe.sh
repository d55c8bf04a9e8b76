# --- observe ------------------------------------------------------------------------------

is_other_switch_running() {
    [ -e /run/nixos/switch-to-configuration.lock ] || return 1
    ! flock -n /run/nixos/switch-to-configuration.lock true 2>/dev/null
}

generation() {
    link=$(readlink "$PROFILE" 2>/dev/null) || link=
    link=${link#system-}
    printf '%s' "${link%-link}"
}

free_bytes() { # FOLDER
    df -P -B1 "$1" 2>/dev/null | fourth_column
}

fourth_column() { # the fourth column of the second line; a minimal host has no awk
    {
        read -r _ || true
        read -r _ _ _ free _ || free=
        printf '%s' "$free"
    }
}

observe() {
    id=$(attempt_id)
    is_open "$id" || id=
    folder=$ETC/attempts/${id:-none}
    switching=no
    is_other_switch_running && switching=yes
    container=no
    systemd-detect-virt --container --quiet 2>/dev/null && container=yes
    finish 0 observed \
        bootId "$BOOT_ID" \
        machineId "$(get /etc/machine-id)" \
        arch "$(uname -m)" \
        current "$(current)" \
        booted "$(readlink -e /run/booted-system 2>/dev/null)" \
        profile "$(profile)" \
        generation "$(generation)" \
        failed "$(failed_units "failed,$BETWEEN_RUNS" | one_line | head -c 4000)" \
        freeNix "$(free_bytes /nix/store)" \
        freeBoot "$(free_bytes /boot)" \
        container "$container" \
        switching "$switching" \
        committedFrom "$(committed_from)" \
        committedBy "$(committed_by)" \
        attempt "$id" \
        attemptState "${id:+$(state "$id")}" \
        attemptNew "${id:+$(get "$ETC/attempts/$id/new")}"
}

history() {
    for folder in "$ETC"/attempts/*/; do
        folder=${folder%/}
        [ -e "$folder/state" ] || continue
        read_spec <"$folder/spec"
        emit attempt \
            id "${folder##*/}" \
            state "$(get "$folder/state")" \
            reason "$(get "$folder/reason")" \
            by "$by" \
            old "$(get "$folder/old")" \
            new "$(get "$folder/new")" \
            release "$(sed -n 's/^release //p' "$folder/spec" 2>/dev/null)" \
            ended "$(stat -c %Y "$folder/state" 2>/dev/null)"
    done
    exit 0
}

