"""The resources of a fleet: names, inputs, dependencies, and what they must not contain."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi.runtime
import pytest

from tests.program.record import KEY, Scenario, system

SECRET = pulumi.runtime.rpc._special_secret_sig
Graph = dict[str, dict[str, Any]]
"""`type`, `inputs`, `after`, `ignores` and `ended` of each resource, by name."""

OLD = f"/nix/store/{'0' * 32}-nixos-system-old"

# Answers `start` as the host would, once MEET hosts have started; those named in BAD roll back.
SSH = """\
#!/bin/sh
for last; do :; done
eval "set -- $last"
case " $* " in
*" observe ") # of a host that was taken back
    echo '{"schema":1,"event":"observed","current":"'$RUNS'","profile":"'$RUNS'"}'
    exit
    ;;
esac
while [ "$1" != flakeup ]; do shift; done
id=$5 new=$7
cat >/dev/null
say() { event=$1; shift; printf '{"schema":1,"event":"%s","id":"%s"' "$event" "$id"
    while [ $# -gt 0 ]; do printf ',"%s":"%s"' "$1" "$2"; shift 2; done; echo '}'; }
case $4 in
abort)
    echo "abort $id" >>events
    say result state rolled-back current "$RUNS" new "$(cat "new-$id")" exit 21
    exit
    ;;
esac
name=${new##*-nixos-system-} name=${name%-25.11}
echo "$new" >"new-$id"
echo "begin $name" >>events
say started new "$new"
sleep 0.1
tries=0
while [ "$(grep -c begin events)" -lt "$MEET" ] && [ "$tries" -lt 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
echo "end $name" >>events
case " $BAD " in
*" $name "*) say result state rolled-back new "$new" exit 20 reason "made to fail" ;;
*) say result state awaiting-confirm new "$new" current "$new" warnings "$WARNS" ;;
esac
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    rows: Graph
    messages: list[str]
    events: list[str]
    failure: str
    """Why the program fails at its end, if it does."""

    def ended(self, *kinds: str) -> dict[str, str]:
        """The results of `<host>-<kind>` resources that did not simply succeed."""
        return {
            name: row["ended"]
            for name, row in self.rows.items()
            if row["ended"] and name.endswith(kinds)
        }

    def index(self, event: str) -> int:
        return self.events.index(event)

    @property
    def summary(self) -> dict[str, str]:
        """The status of each host, from the one warning."""
        (warned,) = [line for line in self.messages if line.startswith("warning: ")]
        parts = warned.removeprefix("warning: the rollout stopped: ").split("; ")
        standing = dict(part.split(": ") for part in parts)
        return {name: how for how, names in standing.items() for name in names.split(", ")}

    @property
    def most(self) -> int:
        """The maximum number of hosts switching at the same time."""
        under_way = most = 0
        for event in self.events:
            under_way += event.startswith("begin ") - event.startswith("end ")
            most = max(most, under_way)
        return most


Record = Callable[..., Recording]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    tools = tmp_path_factory.mktemp("bin")
    for name, script in (("ssh", SSH), ("nix", "#!/bin/sh\n")):
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)

    def recorded(
        scenario: Scenario | None = None,
        *,
        bad: str = "",
        meet: int = 0,
        runs: str = OLD,
        warns: str = "",
    ) -> Recording:
        folder = tmp_path_factory.mktemp("program")
        text = (scenario or Scenario()).text
        done = subprocess.run(
            (sys.executable, "-W", "ignore", "-m", "tests.program.record", text),
            check=True,
            stdout=subprocess.PIPE,
            timeout=60,
            cwd=folder,
            env={
                **os.environ,
                "BAD": bad,
                "MEET": str(meet),
                "RUNS": runs,
                "WARNS": warns,
                "PATH": f"{tools}:{os.environ['PATH']}",
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "XDG_CACHE_HOME": str(folder / "cache"),
            },
        )
        return Recording(**json.loads(done.stdout))

    return recorded


@pytest.fixture(scope="module")
def graph(record: Record) -> Graph:
    return record().rows


def test_the_tree_has_one_row_for_each_step_that_takes_time(graph: Graph) -> None:
    assert sorted((args["type"], name) for name, args in graph.items()) == [
        ("command:local:Command", "build"),
        ("command:local:Command", "web1-copy"),
        ("command:local:Command", "web2-copy"),
        ("command:remote:Command", "web1-switch"),
        ("command:remote:Command", "web2-switch"),
        ("flakeup:index:Fleet", "fleet"),
        ("flakeup:index:NixosHost", "web1"),
        ("flakeup:index:NixosHost", "web2"),
        ("pulumi:index:Stash", "release"),
    ]


def test_a_host_costs_at_most_four_resources(graph: Graph) -> None:
    for host in ("web1", "web2"):
        assert sum(name.startswith(host) for name in graph) <= 4


def test_switch_is_one_short_line_with_the_store_path(graph: Graph) -> None:
    for host, prefix in (("web1", ""), ("web2", "sudo -n ")):
        inputs = graph[f"{host}-switch"]["inputs"]
        new = system(host).out_path.path
        assert inputs["create"] == f"{prefix}/bin/sh /run/flakeup/switch {new}"


def test_nothing_replaces_and_nothing_is_deleted_on_a_host(graph: Graph) -> None:
    for args in graph.values():
        assert "triggers" not in args["inputs"]
        assert "delete" not in args["inputs"]


def test_every_connection_is_pinned(graph: Graph) -> None:
    for host in ("web1", "web2"):
        connection = _plain(graph[f"{host}-switch"]["inputs"]["connection"])
        assert connection["hostKey"].startswith("ssh-ed25519 ")
        assert connection["dialErrorLimit"] == 1
        options = graph[f"{host}-copy"]["inputs"]["environment"]["NIX_SSHOPTS"]
        assert "StrictHostKeyChecking=yes" in options
        assert "UserKnownHostsFile=.flakeup/dev/ssh/known_hosts" in options


def test_jumps_are_pinned_and_on_every_way_into_their_host(record: Record) -> None:
    """The provider's own client goes through one jump; behind several, OpenSSH commits."""
    graph = record(Scenario(jumps=("web1", "web2", "web2"))).rows
    pinned = _plain(graph["web1-switch"]["inputs"]["connection"])
    key = pinned["hostKey"]
    assert pinned["proxy"] == {
        "host": "bastion.example.org",
        "port": 22.0,
        "user": "jump",
        "hostKey": key,
        "privateKey": KEY,
        "dialErrorLimit": 0,
        "perDialTimeout": 5,
    }
    assert pinned["dialErrorLimit"] == 0
    assert graph["web2-switch"]["type"] == "command:local:Command"
    assert graph["web2-switch"]["inputs"]["create"] == (
        "exec ssh -T -F .flakeup/dev/ssh/ssh_config-web2 -l deploy -- 10.0.0.2 "
        f"'sudo -n -- /bin/sh /run/flakeup/switch {system('web2').out_path.path}'"
    )
    for host in ("web1", "web2"):
        options = graph[f"{host}-copy"]["inputs"]["environment"]["NIX_SSHOPTS"]
        assert options == f"-F .flakeup/dev/ssh/ssh_config-{host}"
    for name, args in graph.items():
        assert "poison" not in json.dumps(_without_secrets(args["inputs"])), name


def test_no_input_depends_on_the_machine_that_runs_the_program(graph: Graph) -> None:
    for name, args in graph.items():
        text = json.dumps(_plain(args["inputs"]))
        assert "/somewhere" not in text, name
        assert str(Path.cwd()) not in text, name
        assert f"{Path.home()}/" not in text, name


def test_the_key_is_in_inputs_only_as_a_secret(graph: Graph) -> None:
    for name, args in graph.items():
        assert "poison" not in json.dumps(_without_secrets(args["inputs"])), name
    # The control: the key is there, so the search can fail.
    assert _plain(graph["web1-switch"]["inputs"]["connection"])["privateKey"] == KEY


def test_components_have_no_release_in_their_inputs(graph: Graph) -> None:
    for name in ("fleet", "web1", "web2"):
        assert graph[name]["inputs"] == {}


def test_commands_neither_log_nor_pass_their_output_on(graph: Graph) -> None:
    commands = [args for args in graph.values() if args["type"].startswith("command:")]
    assert len(commands) == 5
    for args in commands:
        assert args["inputs"]["logging"] == "none"
        assert args["inputs"]["addPreviousOutputInEnv"] is False


# --- rollout ------------------------------------------------------------------------------

FIVE_SWITCHES = tuple(f"web{number}-switch" for number in range(1, 6))
FIVE = ("web1", "web2", "web3", "web4", "web5")


@pytest.fixture(scope="module")
def waves(record: Record) -> Recording:
    """A canary, then two, then the rest; one at a time."""
    return record(Scenario(hosts=FIVE, waves=(2,), max_parallel=1))


def test_a_copy_waits_only_for_the_build(waves: Recording) -> None:
    assert waves.rows["build"]["after"] == ["release"]
    for name in FIVE:
        assert waves.rows[f"{name}-copy"]["after"] == ["build"]


def test_a_wave_waits_for_all_its_copies_and_the_switches_before(waves: Recording) -> None:
    second, third = {"web2-copy", "web3-copy"}, {"web4-copy", "web5-copy"}
    wanted = {
        "web1": {"web1-copy"},
        "web2": {"web1-switch", *second},
        "web3": {"web1-switch", *second},
        "web4": {"web2-switch", "web3-switch", *third},
        "web5": {"web2-switch", "web3-switch", *third},
    }
    assert {name: set(waves.rows[f"{name}-switch"]["after"]) for name in FIVE} == wanted


def test_by_default_one_host_goes_first(graph: Graph) -> None:
    assert set(graph["web1-switch"]["after"]) == {"web1-copy"}
    assert set(graph["web2-switch"]["after"]) == {"web1-switch", "web2-copy"}


def test_a_named_canary_goes_first(record: Record) -> None:
    rows = record(Scenario(hosts=("web1", "web2", "web3"), canary="web3")).rows
    assert set(rows["web3-switch"]["after"]) == {"web3-copy"}
    both = {"web3-switch", "web1-copy", "web2-copy"}
    assert set(rows["web1-switch"]["after"]) == set(rows["web2-switch"]["after"]) == both


def test_without_a_canary_all_go_at_once(record: Record) -> None:
    done = record(Scenario(hosts=FIVE, canary=0), meet=5)
    copies = {f"{name}-copy" for name in FIVE}
    assert all(set(done.rows[f"{name}-switch"]["after"]) == copies for name in FIVE)
    assert done.most == 5
    assert not any(line.startswith("warning") for line in done.messages)


def test_max_parallel_bounds_a_wave(record: Record, waves: Recording) -> None:
    assert waves.most == 1
    assert record(Scenario(hosts=FIVE, canary=0, max_parallel=2), meet=2).most == 2
    for name in FIVE:
        assert f"run {name}-switch" in waves.events


def test_a_wave_starts_once_the_previous_one_is_committed(waves: Recording) -> None:
    for name in ("web2", "web3"):
        assert waves.index("run web1-switch") < waves.index(f"begin {name}")
        for later in ("web4", "web5"):
            assert waves.index(f"run {name}-switch") < waves.index(f"begin {later}")


def test_a_failed_canary_leaves_all_others_untouched(record: Record) -> None:
    """With `--continue-on-error` too: this engine continues where it may."""
    done = record(Scenario(hosts=FIVE), bad="web1")
    switched = done.ended("-switch")
    assert "made to fail: rolled back" in switched.pop("web1-switch")
    assert switched == {f"{name}-switch": "skipped" for name in FIVE[1:]}
    assert done.ended("-copy") == {}
    assert [event for event in done.events if event.startswith("begin")] == ["begin web1"]
    assert done.summary == dict.fromkeys(FIVE, "untouched") | {"web1": "failed"}


def test_hosts_waiting_for_a_slot_do_not_start_after_a_failure(record: Record) -> None:
    done = record(Scenario(hosts=FIVE, waves=(3,), max_parallel=1), bad="web2 web3 web4")
    begun = [event.removeprefix("begin ") for event in done.events if event.startswith("begin")]
    assert begun[0] == "web1"
    (_, failed) = begun
    switched = done.ended("-switch")
    assert switched.pop("web5-switch") == "skipped"
    assert "made to fail" in switched.pop(f"{failed}-switch")
    for name in {"web2", "web3", "web4"} - {failed}:
        assert switched.pop(f"{name}-switch") == (
            f"left untouched: {name}: {failed} failed. fix the release, then run `pulumi up` again"
        )
    assert switched == {}
    assert done.summary == dict.fromkeys(FIVE, "untouched") | {
        "web1": "committed",
        failed: "failed",
    }


def test_hosts_in_progress_finish_after_a_failure(record: Record) -> None:
    done = record(Scenario(hosts=FIVE, canary=0, waves=(3,)), bad="web2", meet=3)
    assert done.most == 3
    assert set(done.ended("-switch")) == {"web2-switch", "web4-switch", "web5-switch"}
    assert {"run web1-switch", "run web3-switch"} <= set(done.events)
    assert done.summary == dict.fromkeys(FIVE, "untouched") | {
        "web1": "committed",
        "web2": "failed",
        "web3": "committed",
    }


# --- a commit whose answer cannot be used ---------------------------------------------------


def test_an_unusable_answer_fails_the_program_and_stops_the_rollout(record: Record) -> None:
    """The engine counts the commit as done."""
    done = record(Scenario(hosts=FIVE, garbage=("web1-switch",)))
    (error,) = [line for line in done.messages if line.startswith("error: ")]
    assert error.partition("; the same release once more: pulumi up --replace 'urn:")[0] == (
        "error: not deployed: web1: unusable reply: web1: the commit printed no reply: 'Welcome'."
        " check what its login shell prints: rolled back to the previous system."
        f" it runs {OLD} now; fix the release, then run `pulumi up` again"
    )
    assert [event for event in done.events if event.startswith("begin")] == ["begin web1"]
    assert sum(event.startswith("abort") for event in done.events) == 1
    assert done.ended("-switch") == {
        "web2-switch": _untouched("web2"),
        "web3-switch": _untouched("web3"),
        "web4-switch": _untouched("web4"),
        "web5-switch": _untouched("web5"),
    }
    assert done.summary == dict.fromkeys(FIVE, "untouched") | {"web1": "failed"}
    assert done.failure == "not deployed: web1: the errors say why"


def test_an_old_unusable_answer_fails_each_run(record: Record) -> None:
    unchanged = Scenario(hosts=FIVE, garbage=("web1-switch",), kept=("web1-switch",))
    done = record(unchanged)
    (error,) = [line for line in done.messages if line.startswith("error: ")]
    assert f"it runs {OLD}, and boots {OLD}. repair: pulumi up --replace 'urn:" in error
    assert not any(event.startswith("begin") for event in done.events)
    assert done.failure == "not deployed: web1: the errors say why"
    preview = record(
        Scenario(hosts=FIVE, garbage=unchanged.garbage, kept=FIVE_SWITCHES, preview=True)
    )
    (warned,) = [line for line in preview.messages if line.startswith("warning: ")]
    assert "the state has no outcome of its last commit" in warned
    assert "repair: pulumi up --replace 'urn:" in warned
    assert preview.failure == ""


def test_what_the_host_says_counts(record: Record) -> None:
    """Its answer was lost, and it has committed."""
    runs = system("web1").out_path.path
    for kept in ((), ("web1-switch",)):
        one = Scenario(hosts=("web1",), garbage=("web1-switch",), kept=kept)
        done = record(one, runs=runs)
        assert done.failure == ""
        assert not any(line.startswith("error: ") for line in done.messages)


def test_warnings_of_the_activation_stand_next_to_committed(record: Record) -> None:
    warnings = "warning: user activation for deploy failed | Failed to start x.service: not found"
    done = record(Scenario(hosts=("web1",)), warns=f"{warnings} | {'y' * 3000}")
    (warned,) = [line for line in done.messages if line.startswith("warning: ")]
    assert warned.startswith(
        f"warning: web1: committed, but its activation warned: {warnings} | yy"
    )
    assert warned.endswith("y…")
    assert len(warned) < 1100
    assert done.failure == ""


def _untouched(name: str) -> str:
    return f"left untouched: {name}: web1 failed. fix the release, then run `pulumi up` again"


# --- disabled hosts -------------------------------------------------------------------------


def test_a_disabled_host_is_kept_as_it_is(record: Record) -> None:
    kept = ("web2-copy", "web2-switch")
    for preview in (False, True):
        done = record(Scenario(hosts=("web1",), disabled=("web2",), kept=kept, preview=preview))
        assert done.rows["web2"] == {
            "type": "flakeup:index:NixosHost", "inputs": {}, "after": [], "ignores": [], "ended": ""
        }  # fmt: skip
        for name in kept:
            assert done.rows[name]["ignores"] == ["*"]
            assert done.rows[name]["after"] == []
        assert "info: web2: skipped (enabled: false)" in done.messages
        assert "begin web2" not in done.events
        assert done.ended("") == {}


def test_a_disabled_host_has_the_resources_of_an_enabled_one(record: Record, graph: Graph) -> None:
    """Another type or name would be another resource, and the previous one deleted."""
    left = record(Scenario(hosts=("web1",), disabled=("web2",), kept=("web2-copy", "web2-switch")))
    assert {name: row["type"] for name, row in left.rows.items()} == {
        name: row["type"] for name, row in graph.items()
    }


def test_a_disabled_host_keeps_the_kind_of_its_commit(record: Record) -> None:
    kept = ("web2-copy", "web2-switch")
    done = record(Scenario(hosts=("web1",), disabled=("web2",), kept=kept, jumps=("web2", "web2")))
    assert done.rows["web2-switch"]["type"] == "command:local:Command"


@pytest.mark.parametrize("preview", [True, False])
def test_a_host_that_was_never_deployed_cannot_be_disabled(
    record: Record, *, preview: bool
) -> None:
    done = record(Scenario(hosts=("web1",), disabled=("web2",), preview=preview))
    text = (
        "cannot skip: web2: it is disabled and was never deployed: there is nothing to"
        " keep. remove it from hosts, or enable it"
    )
    assert done.ended("") == {"web2-copy": text, "web2-switch": text}


# --- what a preview says --------------------------------------------------------------------


def test_a_preview_changes_no_host(record: Record) -> None:
    done = record(Scenario(preview=True))
    assert done.most == 0
    assert sorted(done.messages) == [
        f"info: {name}: {system(name).out_path.path}" for name in ("web1", "web2")
    ]


def test_a_preview_says_that_mode_boot_runs_after_the_next_boot(record: Record) -> None:
    line = "\n  mode boot: it becomes the boot default untested, and runs after the next boot"
    assert sorted(record(Scenario(preview=True, mode="boot")).messages) == [
        f"info: {name}: {system(name).out_path.path}{line}" for name in ("web1", "web2")
    ]


def test_an_update_says_when_it_is_committed(waves: Recording) -> None:
    for name in FIVE:
        (line,) = [text for text in waves.messages if text.startswith(f"info: {name}: committed")]
        assert system(name).out_path.path in line


def _plain(value: Any) -> Any:
    """The value with its secrets opened."""
    if isinstance(value, dict):
        if SECRET in value.get(pulumi.runtime.rpc._special_sig_key, ""):
            return _plain(value["value"])
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        if pulumi.runtime.rpc._special_sig_key in value:
            return "[secret]"
        return {key: _without_secrets(inner) for key, inner in value.items()}
    return [_without_secrets(inner) for inner in value] if isinstance(value, list) else value
