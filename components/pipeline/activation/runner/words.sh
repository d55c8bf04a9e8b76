# --- small things -------------------------------------------------------------------------

# A text as a JSON string, control characters dropped: who reads it trusts nothing. It is left in
# `quoted`, since a subshell for each text would be half the time of `observe`.
quote() { # TEXT
    case $1 in
    *[!a-zA-Z0-9._/:@\ -]*)
        quoted=\"$(
            printf '%s' "$1" | tr -d '\000-\037\177' | sed 's/\\/\\\\/g; s/"/\\"/g' | tr -d '\n'
        )\"
        ;;
    *) quoted=\"$1\" ;;
    esac
}

say() { # EVENT [KEY VALUE]...: one JSON line
    quote "$1"
    line="{\"schema\":1,\"event\":$quoted"
    shift
    while [ $# -ge 2 ]; do
        quote "$1"
        line="$line,$quoted"
        quote "$2"
        line="$line:$quoted"
        shift 2
    done
    printf '%s}\n' "$line"
}

finish() { # CODE EVENT [KEY VALUE]...: the last line of a verb
    code=$1
    shift
    say "$@"
    exit "$code"
}

# Written beside, synced, renamed: a crash leaves the old content or the new, never half.
put() { # FILE TEXT
    printf '%s\n' "$2" >"$1.tmp" && sync "$1.tmp" && mv -f "$1.tmp" "$1"
}

# Without a process of its own: it is asked for some hundred times in an attempt.
get() { # FILE
    while IFS= read -r text || [ -n "$text" ]; do
        printf '%s\n' "$text"
    done 2>/dev/null <"$1" || true
}

one_line() { tr '\n' ' ' | sed 's/ *$//'; }

now() { # hundredths of a second of a clock that nobody sets, left in `uptime`
    read -r uptime _ </proc/uptime
    uptime=$((${uptime%.*} * 100 + 1${uptime#*.} - 100))
}

is_store_path() {
    case $1 in
    /nix/store/*/*) return 1 ;;
    /nix/store/????????????????????????????????-?*) return 0 ;;
    *) return 1 ;;
    esac
}

is_number() {
    case $1 in
    "" | *[!0-9]* | ??????????*) return 1 ;;
    *) return 0 ;;
    esac
}

is_id() {
    case $1 in
    "" | *[!a-zA-Z0-9-]*) return 1 ;;
    *) return 0 ;;
    esac
}

is_attempt() {
    is_id "$1" && [ -d "$ETC/attempts/$1" ]
}

current() { readlink -e /run/current-system 2>/dev/null || true; }
profile() { readlink -e "$PROFILE" 2>/dev/null || true; }

units_in() { # STATE,...: units in these states; our own are not the host's
    systemctl list-units --all --state="$1" --plain --no-legend --full 2>/dev/null |
        cut -d' ' -f1 | grep -v '^flakeup-' | sort -u
}
failed_units() { # one that systemd starts over and over is as bad as one that it gave up on
    units_in failed,auto-restart
}

