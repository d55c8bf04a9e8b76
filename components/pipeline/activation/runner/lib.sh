# --- text, files, predicates ---------------------------------------------------------------

# A JSON string without control characters, since the reader trusts nothing. The result is left in
# `quoted`: a subshell per string would be half the time of `observe`.
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

emit() { # EVENT [KEY VALUE]...: one JSON line
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
    emit "$@"
    exit "$code"
}

# Written to a temporary file, synced, renamed: a crash leaves the old content or the new one.
write_synced() { # FILE TEXT
    printf '%s\n' "$2" >"$1.tmp" && sync "$1.tmp" && mv -f "$1.tmp" "$1"
}

# Starts no process: an attempt calls it some hundred times.
get() { # FILE
    while IFS= read -r text || [ -n "$text" ]; do
        printf '%s\n' "$text"
    done 2>/dev/null <"$1" || true
}

one_line() { tr '\n' ' ' | sed 's/ *$//'; }

excerpt() { # BYTES: of the output on stdin; nothing where messages must not quote it
    if [ "$output" = yes ]; then head -c "$1" | one_line; fi
}

read_uptime() { # sets `uptime`: hundredths of a second of the monotonic clock
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

# The lines of stdin that are not in a file. A file that cannot be read takes none away.
drop_listed() { # FILE
    if [ -r "$1" ]; then grep -vxF -f "$1" || true; else cat; fi
}

is_attempt() {
    is_id "$1" && [ -d "$ETC/attempts/$1" ]
}

current() { readlink -e /run/current-system 2>/dev/null || true; }
profile() { readlink -e "$PROFILE" 2>/dev/null || true; }

