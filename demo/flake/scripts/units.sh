# What a switch does to units, by the rules of the real program: it compares what is linked now with the
# new system, key by key. Sourced by switch-to-configuration.sh.
# shellcheck shell=sh disable=SC2154,SC2034  # its variables: new, lists, newline, active; start and so on
#
# Not the same: the order of a key's values does not count, and units of the distribution that the system
# has a drop-in for are restarted; the real one looks at no unit outside /etc/systemd/system.

units=/run/systemd/system # see activate.sh
# Keys of [Unit] that change nothing in a unit that runs.
IGNORED="Description Documentation SourcePath OnFailure OnSuccess OnFailureJobMode IgnoreOnIsolate"
IGNORED="$IGNORED AllowIsolate StopWhenUnneeded RefuseManualStart RefuseManualStop CollectMode"

# Lists of units are words separated by single blanks; unit names have neither blanks nor wildcards.
has() { case " $1 " in *" $2 "*) ;; *) return 1 ;; esac; }
words() { # the words on stdin, sorted, once each, in one line
    tr -s ' ' "$newline" | sed '/^$/d' | sort -u | paste -sd ' ' -
}

# --- unit files ---------------------------------------------------------------------------

template_of() { # UNIT: of an instance its template, else nothing
    case $1 in *@*) echo "${1%%@*}@.${1##*.}" ;; esac
}

# The text of a unit in the tree $1, drop-ins included; of an instance its template's; else nothing.
# Of the tree of the running host only what a system has put there is of interest.
unit_text() { # TREE UNIT
    file=$2 own=
    if [ ! -e "$1/$file" ] && [ -n "$(template_of "$2")" ]; then
        file=$(template_of "$2") own=$1/$2.d
    fi
    for part in "$1/$file" "$1/$file.d"/*.conf "${own:-/var/empty}"/*.conf; do
        case $part in
        "$units"/*) case $(readlink "$part") in /etc/static/*) ;; *) continue ;; esac ;;
        esac
        [ ! -f "$part" ] || cat "$part"
    done
}

# A unit's text as lines SECTION.KEY=VALUE, without comments and [Install]. An empty value drops those
# before it.
parse_unit() { # TEXT
    section='' parsed=''
    while read -r line; do
        case $line in
        '' | '#'* | ';'*) ;;
        '['*) section=${line#?} section=${section%%]*} ;;
        *=*)
            key=${line%%=*} value=${line#*=}
            key=$section.${key%%[ 	]*} value=${value#"${value%%[! 	]*}"}
            if [ -z "$value" ]; then
                parsed=$(printf %s "$parsed" | grep -v "^$key=" || :)$newline
            elif [ "$section" != Install ]; then
                parsed=$parsed$key=$value$newline
            fi
            ;;
        esac
    done <<END
$1
END
    printf %s "$parsed"
}

values_of() { printf '%s\n' "$1" | sed -n "s/^$2=//p"; } # PARSED SECTION.KEY

is_true() { # PARSED SECTION.KEY DEFAULT
    value=$(values_of "$1" "$2" | tail -n 1)
    case ${value:-$3} in 1 | yes | true | on) ;; *) return 1 ;; esac
}

# --- what has changed ---------------------------------------------------------------------

changed_keys() { # PARSED PARSED: keys with other values, one a line
    for parsed in "$1" "$2"; do printf '%s\n' "$parsed" | sort -u; done |
        sort | uniq -u | sed 's/=.*//' | sort -u
}

# What a change calls for: nothing, a reload or a restart.
difference() { # PARSED PARSED
    verdict=nothing
    for key in $(changed_keys "$1" "$2"); do
        case $key in
        Unit.X-Reload-Triggers | Service.ExecReload)
            [ -z "$(values_of "$2" "$key")" ] || verdict=reload
            ;;
        Mount.Options)
            verdict=reload
            for parsed in "$1" "$2"; do [ -n "$(values_of "$parsed" "$key")" ] || verdict=restart; done
            [ "$verdict" = reload ] || break
            ;;
        *)
            case $key in Unit.*) ! has "$IGNORED" "${key#Unit.}" || continue ;; esac
            verdict=restart
            break
            ;;
        esac
    done
    echo "$verdict"
}

# Whether this is a unit of the distribution: removing our drop-in then changes it, not removes it.
on_host() { [ -e "/usr/lib/systemd/system/$1" ] || [ -e "/etc/systemd/system/$1" ]; }

# --- what is done about it ----------------------------------------------------------------

# Decide about an active unit whose text has changed.
judge() { # UNIT OLD-TEXT NEW-TEXT
    before=$(parse_unit "$2") after=$(parse_unit "$3")
    if is_removed "$1" "$3"; then
        ! is_true "$before" Unit.X-StopOnRemoval true || stop="$stop $1"
        return
    fi
    case $1 in *.target) return ;; esac # started again, whether it has changed or not
    case $(difference "$before" "$after") in
    reload) has "$restart" "$1" || reload="$reload $1" ;;
    restart) judge_changed "$1" "$after" ;;
    esac
}

is_removed() { # UNIT NEW-TEXT
    if on_host "$1"; then return 1; fi
    [ -n "$2" ] || return 0
    # An instance that a drop-in of its own made.
    [ -e "$units/$1.d" ] && [ ! -e "$new/$1.d" ] && [ -n "$(template_of "$1")" ] && [ ! -e "$new/$1" ]
}

judge_changed() { # UNIT PARSED [requested]
    case $1 in
    *.path | *.slice | *.socket | sysinit.target | basic.target | multi-user.target | graphical.target) return ;;
    -.mount | nix.mount) reload="$reload $1" && return ;;
    *.mount) restart="$restart $1" && return ;;
    esac
    if is_true "$2" Service.X-ReloadIfChanged false && ! has "$restart $stop" "$1"; then
        reload="$reload $1"
        return
    elif ! is_true "$2" Service.X-RestartIfChanged true || is_true "$2" Unit.RefuseManualStop false ||
        is_true "$2" Unit.X-OnlyManualStart false; then
        skip="$skip $1"
        return
    fi
    case $1 in *.service) can_stop=yes ;; *) can_stop=no ;; esac
    if [ "${3:-}" = requested ] || [ "$can_stop" = no ] || on_host "$1" ||
        ! is_true "$2" Service.X-StopIfChanged true; then
        restart="$restart $1"
    else
        stop_and_start "$1" "$2"
    fi
    reload=$(echo "$reload" | tr ' ' "$newline" | grep -vx -- "$1" | words)
}

# Stop by the old definition, activate, start by the new one. Of a service with sockets these are started
# instead, unless it wants otherwise.
stop_and_start() { # UNIT PARSED
    stop="$stop $1" by_socket=no
    sockets=$(values_of "$2" Service.Sockets)
    name=${1%%@*}
    for socket in ${sockets:-"${name%.service}.socket"}; do
        if has "$active" "$socket"; then
            stop="$stop $socket"
            [ ! -e "$new/$socket" ] || start="$start $socket"
        fi
        [ ! -e "$new/$socket" ] || by_socket=yes
    done
    if [ "$by_socket" = no ] || is_true "$2" Service.X-NotSocketActivated false; then
        start="$start $1"
    fi
}

active_units() {
    run systemctl list-units --plain --full --no-legend --no-pager \
        --state=active,activating,reloading | cut -d ' ' -f 1 | words
}

# Units that the two trees know by name, and running instances of their templates.
candidates() {
    {
        for path in "$units"/* "$new"/*; do
            name=${path##*/}
            case $name in
            *.wants | *.requires | '*') ;;
            *.d) echo "${name%.d}" ;;
            *@.*) ;;
            *) echo "$name" ;;
            esac
        done
        for name in $active; do
            template=$(template_of "$name")
            [ -n "$template" ] || continue
            if [ -e "$units/$template" ] || [ -e "$new/$template" ]; then echo "$name"; fi
        done
    } | words
}

# Fill stop, start, restart, reload and skip from what is linked now, the new system and the active units.
compare() {
    stop='' skip=''
    active=$(active_units)
    # Stopped, but not started again, by an interrupted run.
    start=$(leftover start) restart=$(leftover restart) reload=$(leftover reload)
    for unit in $(candidates); do
        has "$active" "$unit" || continue
        old_text=$(unit_text "$units" "$unit")
        new_text=$(unit_text "$new" "$unit")
        [ -n "$old_text$new_text" ] && [ "$old_text" != "$new_text" ] || continue
        judge "$unit" "$old_text" "$new_text"
    done
    sort_lists
}

sort_lists() {
    stop=$(echo "$stop" | words) skip=$(echo "$skip" | words)
    start=$(echo "$start" | words) restart=$(echo "$restart" | words) reload=$(echo "$reload" | words)
}

# --- kept for a run after an interrupted one ----------------------------------------------

leftover() { # KIND
    [ -e "$lists/$1-list" ] || return 0
    while read -r unit; do
        if [ -n "$(unit_text "$new" "$unit")" ] || on_host "$unit"; then echo "$unit"; fi
    done < "$lists/$1-list" | words
}

remember() { # KIND UNITS
    rm -f "$lists/$1-list"
    [ -z "$2" ] || printf '%s\n' "$2" | tr ' ' "$newline" > "$lists/$1-list"
}

# --- what the activation script asks for --------------------------------------------------

# Add to the lists what it has written to files of its own, which are removed.
add_requests() { # PREFIX: activation or dry-activation
    for unit in $(requested "$1-restart"); do
        if has "$active" "$unit"; then
            judge_changed "$unit" "$(parse_unit "$(unit_text "$new" "$unit")")" requested
        else
            start="$start $unit"
        fi
    done
    for unit in $(requested "$1-reload"); do
        if has "$active" "$unit" && ! has "$restart $stop" "$unit"; then reload="$reload $unit"; fi
    done
    sort_lists
}

requested() { # KIND
    [ -e "$lists/$1-list" ] || return 0
    words < "$lists/$1-list"
    rm -f "$lists/$1-list"
}

# The units that targets of the system pull in, without dangling links: this host lacks those units.
wanted() {
    for path in "$new"/*.target.wants/*; do
        [ ! -e "$path" ] || echo "${path##*/}"
    done | words
}
