"""The runner without a host: what it observes, and what it refuses."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from components.pipeline.activation import runner
from components.pipeline.activation.protocol import Observation, parse
from components.pipeline.activation.request import AttemptRequest
from components.pipeline.config.activation import Activation
from components.pipeline.errors import ReplyError
from tests.unit.hosts import toplevel

pytestmark = pytest.mark.contract
STATE = (Path("/nix/var/flakeup"), Path("/run/flakeup"))
ID = "20260102T030405-0123abcd"
OLD, NEW = toplevel("a").path, toplevel("b").path


@pytest.fixture(params=["sh", "bash"])
def shell(request: pytest.FixtureRequest) -> str:
    """NixOS's sh is bash, Debian's is dash."""
    found = shutil.which(str(request.param))
    if found is None:
        pytest.skip(f"no {request.param} here")
    return found


def run(shell: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    argv = (shell, "-s", "--", *words)
    return subprocess.run(argv, input=runner.text(), capture_output=True, check=False, timeout=20)


def test_shellcheck_is_clean() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not on PATH; requirements-dev.txt has it")
    done = subprocess.run(
        (shellcheck, "-"), input=runner.text(), capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, b"")


def test_observe(shell: str) -> None:
    done = run(shell, "observe")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == 1
    reply = parse("here", done.stdout)
    assert reply.event == "observed"
    seen = Observation.of(reply)
    assert seen.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert seen.arch == subprocess.check_output(("uname", "-m"), text=True).strip()
    assert seen.free_nix > 0 or not Path("/nix/store").exists()
    for path in (reply["current"], reply["profile"], reply["booted"]):
        assert path == "" or Path(path).exists()


def test_observe_writes_nothing(shell: str) -> None:
    before = [path.exists() for path in STATE]
    run(shell, "observe")
    assert [path.exists() for path in STATE] == before


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("",),
        ("dance",),
        ("--help",),
        ("start",),
        ("start", ID, "-"),
        ("start", ID, "-", NEW, "more"),
        ("follow",),
        ("follow", ID),
        ("follow", ID, "0"),
        ("follow", "../../etc", "0"),
        ("follow", "", "0"),
        ("abort", ID),
        ("abort", ID, "why"),
        ("abort", ".", "why"),
        ("run",),
        ("run", ".."),
        ("run", ID, "more"),
        ("rollback",),
        ("rollback", ID),
        ("rollback", "..", "revert"),
        ("apply-commit",),
        ("apply-commit", "../x"),
    ],
)
def test_usage(words: tuple[str, ...]) -> None:
    done = run("sh", *words)
    assert done.returncode == 64
    assert done.stderr == b""
    usage = "usage: observe | start | follow | abort | history | /nix/store/…"
    assert parse("here", done.stdout)["reason"] == usage


HOSTILE = ("x;id", "$(id)", "../..", "a b", "x\ny", "\x1b[2J", "'", '"', "\\", "`id`", "%s", "")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_ids(text: str) -> None:
    done = run("sh", "start", text, "-", NEW)
    assert (done.returncode, parse("here", done.stdout)["reason"]) == (64, "unusable id")


PATHS = (
    "",
    "/",
    "/etc/passwd",
    "/nix/store/",
    "/nix/store/short-x",
    f"{NEW}/bin/sh",
    f"{NEW}/../../../etc",
    f"/nix/store/{'b' * 32}",
    f"/nix/store/{'b' * 32}-",
    f" {NEW}",
    "-",
    "--version",
)


@pytest.mark.parametrize("path", PATHS)
def test_paths_that_are_not_a_system(path: str) -> None:
    done = run("sh", "start", ID, "-", path)
    assert (done.returncode, parse("here", done.stdout)["reason"]) == (64, "unusable new system")
    if path != "-":  # nothing is known of the host
        done = run("sh", "start", ID, path, NEW)
        reason = parse("here", done.stdout)["reason"]
        assert (done.returncode, reason) == (64, "unusable old system")


@pytest.mark.parametrize("path", [path for path in PATHS if path.startswith("/nix/store/")])
def test_commit_takes_a_system_only(path: str) -> None:
    done = run("sh", path)
    assert (done.returncode, parse("here", done.stdout)["reason"]) == (64, "not a store path")


def test_a_truncated_spec() -> None:
    """A connection that breaks in the middle must not drop the checks at its end."""
    whole = AttemptRequest(activation=Activation()).text
    for part in (b"", whole[:20], whole[: -len(b"end\n")], whole[:-2]):
        # The script is a file here: stdin has only the spec.
        argv = ("sh", "-c", runner.text().decode(), "sh", "start", ID, OLD, NEW)
        done = subprocess.run(argv, input=part, capture_output=True, check=False, timeout=20)
        assert (done.returncode, parse("here", done.stdout)["reason"]) == (
            64,
            "the spec was truncated",
        )


def test_refusals_change_nothing() -> None:
    before = [path.exists() for path in STATE]
    run("sh", "start", ID, OLD, "/etc/passwd")
    run("sh", "/nix/store/short-x")
    assert [path.exists() for path in STATE] == before


@pytest.mark.parametrize(
    "text",
    ['a "quoted" one', "back\\slash", "new\nline", "tab\tbed", "\x1b[31mred\x07", "ü é", "%s %d"],
)
def test_every_text_is_json(text: str) -> None:
    """The functions that print replies, with hostile text."""
    script = runner.text().decode().rpartition("\n{\n    case")[0] + '\nemit printed text "$1"\n'
    done = subprocess.run(
        ("sh", "-c", script, "sh", text), capture_output=True, check=True, timeout=10
    )
    printed = json.loads(done.stdout)["text"]
    assert printed == "".join(char for char in text if char >= " ")


def test_a_banner_before_the_reply_is_refused() -> None:
    done = run("sh", "observe")
    with pytest.raises(ReplyError):
        parse("here", b"Welcome\n" + done.stdout)
