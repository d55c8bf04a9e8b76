# --- probes: the spec's checks ------------------------------------------------------------

start_checks() {
    mkdir -p "$folder/checks"
    number=0
    while IFS=$US read -r word name kind target status contains header period limit retries hold; do
        [ "$word" = check ] || continue
        number=$((number + 1))
        write_texts "$folder/checks/$number" || fail 20 "no space left for the attempt's files in $ETC"
        run_check "$folder/checks/$number" &
    done <"$folder/spec"
}

# What a check may not show: everybody on the host can read argv, and only root these files.
write_texts() { # FILES
    written=$target
    [ "$kind" != http ] || # a line of curl's config (curl(1), --config)
        written="url = \"$(printf '%s' "$target" | sed 's/["\\]/\\&/g')\""
    printf '%s\n' "$written" >"$1.target" &&
        printf '%s\n' "$contains" >"$1.contains" && printf '%s\n' "$header" >"$1.header"
}

# The texts of an attempt that has ended, and what was answered, are kept no longer.
forget_checks() { # ID
    rm -rf "$ETC/attempts/$1/checks"
    kept=$ETC/attempts/$1/spec
    grep -q "^check$US" "$kept" 2>/dev/null || return 0
    grep -v "^check$US" "$kept" >"$kept.tmp" && touch -r "$kept" "$kept.tmp" && sync "$kept.tmp" &&
        mv -f "$kept.tmp" "$kept"
}

run_check() { # FILES: one check, until it has held or failed too often
    failures=0 since=
    while :; do
        if detail=$(probe "$1"); then
            read_uptime
            since=${since:-$uptime}
            [ "$((uptime - since))" -lt "$((hold * 100))" ] || break
        elif [ -n "$since" ]; then
            write_synced "$1.verdict" "bad check $name: good at first, then $detail"
            return
        else
            failures=$((failures + 1))
            if [ "$failures" -gt "$retries" ]; then
                write_synced "$1.verdict" "bad check $name: $detail"
                return
            fi
        fi
        sleep "$period"
    done
    write_synced "$1.verdict" good
}

probe() { # FILES: prints what is wrong
    case $kind in
    unit)
        active=$(systemctl is-active -- "$target") && return
        printf '%s is %s' "$target" "${active:-not known: systemd does not answer}"
        ;;
    command)
        # With the new system's PATH, as a login shell has it.
        PATH="/run/current-system/sw/bin:$PATH" \
            timeout --kill-after=1 "$limit" /bin/sh "$1.target" </dev/null >"$1.answer" 2>&1 && return
        ended=$?
        said=$(tail -n 2 "$1.answer" | excerpt 300)
        case $ended in
        124) printf 'the command did not finish within %s s' "$limit" ;;
        137) printf 'the command was killed, or did not finish within %s s' "$limit" ;;
        *) printf 'the command exited with status %s%s' "$ended" "${said:+: $said}" ;;
        esac
        ;;
    tcp)
        address=${target%:*} address=${address#[} address=${address%]}
        # shellcheck disable=SC2016 # $0 and $1 are bash's own
        timeout "$limit" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$address" "${target##*:}" \
            2>/dev/null && return
        printf 'no connection to %s' "$target"
        ;;
    http) probe_http "$1" && return ;;
    *)
        printf 'unknown kind of check: %s' "$kind"
        ;;
    esac
    return 1
}

probe_http() { # FILES
    {
        curl --silent --show-error --include --globoff --max-time "$limit" --config "$1.target" \
            2>"$1.error"
        write_synced "$1.ended" "$?"
    } | head -c 131072 | tr -d '\r' >"$1.answer"
    read -r _ code _ 2>/dev/null <"$1.answer" || code=
    case $code:$(get "$1.ended") in
    [1-9]*:0 | [1-9]*:23) ;; # 23: `head` closed a long answer
    *)
        printf '%s' "$(sed 's/^curl: ([0-9]*) //' "$1.error" | head -c 300 | one_line)"
        return 1
        ;;
    esac
    if [ "$code" != "$status" ]; then
        printf 'expected status %s, got %s' "$status" "$code"
        return 1
    fi
    if [ -n "$header" ] && ! sed '1d; /^$/q' "$1.answer" | grep -qiF -f "$1.header"; then
        printf "no header has '%s'" "$header"
        return 1
    fi
    if [ -n "$contains" ] && ! sed '1,/^$/d' "$1.answer" | grep -qF -f "$1.contains"; then
        said=$(sed '1,/^$/d' "$1.answer" | excerpt 200)
        [ -z "$said" ] || said=": '$said'"
        printf "the body does not contain '%s'%s" "$contains" "$said"
        return 1
    fi
}

