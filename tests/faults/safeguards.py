"""The safeguards of the program, each with a mutant that removes it and rows that notice."""

from typing import Final

from tests.faults.mutation import Edit, Mutant

RUNNER: Final = "components/pipeline/activation/runner"
_POINT_IN_TIME: Final = '--on-startup="$((manager_clock + $3 * 100))0ms"'
MUTANTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        name="pin",
        removes="host key pinning, both of our connections and of the commit's",
        edits=(
            Edit(
                file="components/pipeline/transport/ssh_files.py",
                text='("StrictHostKeyChecking", "yes")',
                replacement='("StrictHostKeyChecking", "no")',
            ),
            Edit(
                file="components/hosts/connection.py",
                text="host_key=self._input(lambda it: it.endpoint.host_key.line),",
                replacement="",
            ),
        ),
        killers={"F18": "it ended NEW, not OLD", "F18b": "it ended NEW, not OLD"},
    ),
    Mutant(
        name="roots",
        removes="the garbage collector roots of OLD and NEW",
        edits=(
            Edit(
                file=f"{RUNNER}/start.sh",
                text='[ -z "$2" ] || ln -sfn "$2" "$ROOTS/$1"',
                replacement="return 0",
            ),
        ),
        killers={"F13d": "it ended OLD, not NEW", "F13e": "OLD was collected"},
    ),
    Mutant(
        name="order",
        removes="activation before the commit: NEW becomes the boot default before it runs",
        edits=(
            Edit(
                file=f"{RUNNER}/run.sh",
                text='activate "$new" "$((timeout - waited))" test',
                replacement='note touched yes; nix-env --profile "$PROFILE" --set "$new" 9>&-\n'
                '        activate "$new" "$((timeout - waited))" switch',
            ),
        ),
        killers={"F4b": "it ended NEW, not OLD"},
    ),
    Mutant(
        name="timer",
        removes="the rollback timer",
        edits=(
            Edit(
                file=f"{RUNNER}/units.sh",
                text="    read_manager_clock\n    start_unit",
                replacement="    return 0\n    start_unit",
            ),
        ),
        killers={"C8": r"it ended between, not OLD.*attempt awaiting-confirm"},
    ),
    Mutant(
        name="connection",
        removes="the commit's own connection: it uses the one that follows the attempt",
        edits=(
            Edit(
                file=f"{RUNNER}/follow.sh",
                text="        awaiting-confirm | committing | committed) report_result 0 ;;\n",
                replacement="        awaiting-confirm)"
                ' sh "$RUN/switch" "$(get "$folder/new")" >/dev/null ;;\n'
                "        committing | committed) report_result 0 ;;\n",
            ),
        ),
        killers={"F5a2": "it ended NEW, not OLD"},
    ),
    Mutant(
        name="settle",
        removes="the time in which units settle before they are checked",
        edits=(
            Edit(
                file=f"{RUNNER}/check.sh",
                text='while [ "$uptime" -lt "$((half + $1 * 50))" ]; do',
                replacement="while false; do",
            ),
        ),
        killers={"F9b2": "it ended NEW, not OLD"},
    ),
    Mutant(
        name="lock",
        removes="the lock around each state change of an attempt",
        edits=(Edit(file=f"{RUNNER}/state.sh", text='flock -w "${1:-20}" 9', replacement="true"),),
        killers={"F10d": "it ended OLD, not NEW|the second was told"},
    ),
    Mutant(
        name="clock",
        removes="monotonic timers: they follow the wall clock",
        edits=(
            Edit(
                file=f"{RUNNER}/units.sh",
                text=_POINT_IN_TIME,
                replacement='--on-calendar="$(date -d "+$3 seconds" "+%F %T")"',
            ),
        ),
        killers={"F14": r"the timer while activating.*OnCalendar"},
    ),
    Mutant(
        name="reload",
        removes="timers at a point of PID 1's clock: each reload begins a countdown from its start",
        edits=(
            Edit(file=f"{RUNNER}/units.sh", text=_POINT_IN_TIME, replacement='--on-active="$3"'),
        ),
        killers={"F16d": "not within 35 s: .*rolled-back"},
    ),
    Mutant(
        name="isolate",
        removes="timers and rollback that stay when a target is isolated",
        edits=(
            Edit(file=f"{RUNNER}/units.sh", text="-p IgnoreOnIsolate=yes ", replacement=""),
            Edit(
                file=f"{RUNNER}/units.sh",
                text=" --timer-property=IgnoreOnIsolate=yes",
                replacement="",
            ),
        ),
        killers={"F16c": "an attempt is still in state awaiting-confirm"},
    ),
    Mutant(
        name="retry",
        removes="further tries of a rollback that failed",
        edits=(
            Edit(
                file=f"{RUNNER}/rollback.sh",
                text="        reboot_as_last_resort\n",
                replacement="        exit 0\n",
            ),
        ),
        killers={"F28k": "its rollback has failed, and was not tried again"},
    ),
    Mutant(
        name="measure",
        removes="what `rolled-back` is measured by, except the running system",
        edits=(
            Edit(file=f"{RUNNER}/rollback.sh", text="    restart_wanted\n", replacement=""),
            Edit(
                file=f"{RUNNER}/rollback.sh",
                text='elif [ -n "$loader_trouble" ]; then',
                replacement="elif true; then",
            ),
        ),
        killers={"F28k": r"units of its system are stopped: app-worker\.service"},
    ),
    Mutant(
        name="prerequisites",
        removes="D-Bus, logind and the network before OLD's activation, which needs them",
        edits=(
            Edit(file=f"{RUNNER}/rollback.sh", text="    start_prerequisites\n", replacement=""),
        ),
        killers={"F28d": "on the host, not within .*rolled-back"},
    ),
    Mutant(
        name="script",
        removes="the search for a failed activation script where the status is 4 (or 0)",
        edits=(
            Edit(
                file=f"{RUNNER}/run.sh",
                text='! script=$(failed_script) || fail 20 "the activation script failed: $script"',
                replacement=":",
            ),
        ),
        killers={"F9o2": "it ended NEW, not OLD"},
    ),
    Mutant(
        name="held-lock",
        removes="NixOS's own line as the only sign of a held lock, not the status alone",
        edits=(
            Edit(
                file=f"{RUNNER}/run.sh",
                text=""" && first_complaint 'Could not acquire lock*' >/dev/null""",
                replacement="",
            ),
        ),
        killers={"F28h": "'exited with status 11: rolled back' is not in the output"},
    ),
    Mutant(
        name="realise",
        removes="NEW's realisation, which tells a garbage collection that has begun",
        edits=(
            Edit(
                file=f"{RUNNER}/start.sh",
                text="nix-store --realise --option substitute false",
                replacement="nix-store --check-validity",
            ),
        ),
        killers={"F13f": r"it ended \w+, not NEW"},
    ),
    Mutant(
        name="disk",
        removes="the synchronisation of the attempt's file system",
        edits=(
            Edit(
                file=f"{RUNNER}/state.sh",
                text='sync -f "$ETC" 2>/dev/null || sync;',
                replacement="true;",
            ),
            Edit(
                file=f"{RUNNER}/state.sh",
                text='sync "$folder" "$ETC/attempts" "$ETC" 2>/dev/null || sync_disk;',
                replacement="true;",
            ),
        ),
        killers={"F4g": "lost: .* of an attempt"},
    ),
    Mutant(
        name="failed-before",
        removes="OLD and the baseline of an attempt whose rollback has failed, for the next one",
        edits=(
            Edit(
                file=f"{RUNNER}/start.sh",
                text='[ "$(state "$1")" = rollback-failed ] || is_orphaned "$1"',
                replacement='is_orphaned "$1"',
            ),
        ),
        killers={"F29a": "the broken release was deployed"},
    ),
    Mutant(
        name="held",
        removes="the end of a rollback that goes on, with the next attempt",
        edits=(
            Edit(
                file=f"{RUNNER}/start.sh",
                text='! is_unfinished "$held" || ! is_this_boot "$held" || supersede_held',
                replacement='[ "$again" = no ] || supersede_held',
            ),
        ),
        killers={"F29c": "it ended \\w+, not NEW"},
    ),
    Mutant(
        name="used-up",
        removes="timers that fire while their state is being written",
        edits=(
            Edit(
                file=f"{RUNNER}/rollback.sh",
                text="unconfirmed:checking | unconfirmed:awaiting-confirm",
                replacement="unconfirmed:awaiting-confirm",
            ),
        ),
        killers={"F16h": "it ended NEW, not OLD"},
    ),
    Mutant(
        name="by-hand",
        removes="the look for a system that somebody else has switched to",
        edits=(
            Edit(
                file=f"{RUNNER}/rollback.sh",
                text='    ! is_own_system "$1" "$(current)" || return 0\n',
                replacement="    return 0\n",
            ),
        ),
        killers={"F27a": "the attempt ended rolled-back|it ended between, not other"},
    ),
    Mutant(
        name="staged",
        removes="the look for a boot default that somebody else has set, before the commit",
        edits=(
            Edit(
                file=f"{RUNNER}/commit.sh",
                text="    refuse_others_default\n",
                replacement="",
            ),
        ),
        killers={"F27b": "are not /nix/store"},
    ),
    Mutant(
        name="committed",
        removes="the host's own record of its last commit: the profile alone counts",
        edits=(Edit(file=f"{RUNNER}/start.sh", text='&& is_recorded "$1" ', replacement=""),),
        killers={"F27d": "it ended between, not NEW"},
    ),
    Mutant(
        name="init",
        removes="a boot default in containers that is OLD until the commit",
        edits=(
            Edit(
                file=f"{RUNNER}/run.sh",
                text='    point_sbin_init "$(get "$folder/init")"\n',
                replacement="",
            ),
        ),
        killers={"F4j": "while NEW is not confirmed, /sbin/init is"},
    ),
)
