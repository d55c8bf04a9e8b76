main() {
    verb=${1:-}
    [ $# -gt 0 ] && shift
    case $verb in
    /nix/store/*) use_own_copy "$verb" && commit "$verb" ;;
    observe) observe ;;
    history) history ;;
    start) [ $# -ne 3 ] || start "$@" ;;
    follow) [ $# -ne 2 ] || { is_attempt "$1" && is_number "$2" && follow "$@"; } ;;
    abort) [ $# -ne 2 ] || { is_attempt "$1" && abort "$@"; } ;;
    run) [ $# -ne 1 ] || { is_attempt "$1" && run "$1" && exit; } ;;
    apply-commit) [ $# -ne 1 ] || { is_attempt "$1" && apply_commit "$1" && exit; } ;;
    rollback) [ $# -ne 2 ] || { is_attempt "$1" && rollback_attempt "$@" && exit; } ;;
    esac
    finish 64 refused reason "usage: observe | start | follow | abort | history | /nix/store/…"
}

# An attempt is committed by the copy of the runner that it began with: another version of flakeup may
# have been published since.
use_own_copy() { # NEW
    folder=$ETC/attempts/$(attempt_id)
    case $(get "$folder/state") in awaiting-confirm | committing) ;; *) return 0 ;; esac
    shell=$(get "$folder/shell")
    [ "$0" = "$folder/runner" ] || [ ! -e "$folder/runner" ] || [ ! -x "$shell" ] ||
        exec "$shell" "$folder/runner" "$1"
}

# The shell reads this block whole before it runs: the file may be replaced meanwhile.
# shellcheck disable=SC2317 # reached by verbs that do not exit themselves
{
    case ${1:-} in start) main "$@" ;; *) main "$@" </dev/null ;; esac
    exit
}
