"""The first deployment of a stack in Incus with interruptions at each step, and its destroy."""

import io
import signal
import tarfile
from pathlib import Path

import pytest

from tests.e2e.host_state import answers, profiles, serving, systems
from tests.e2e.incus_stack import LISTING, OWNER, PREFIX, UNCHANGED, IncusEnvironment, env

__all__ = ["env"]
pytestmark = pytest.mark.e2e


def expect_deployed(env: IncusEnvironment) -> None:
    """Each host exists once, on v1, as in the state; and so does the image."""
    hosts = env.hosts()
    assert answers(hosts) == serving("v1", *hosts)
    assert systems(hosts) == profiles(hosts) == env.stack.recorded()
    assert env.instances().keys() == {"web1", "web2"}
    (owner,) = {row["config"]["user.flakeup.owner"] for row in env.instances().values()}
    assert owner.rpartition("/")[0] == OWNER
    assert len(env.images()) == 1
    env.expect_no_change()


def test_a_preview_lists_once_and_creates_nothing(env: IncusEnvironment) -> None:
    env.stack.write(appRef="v1")
    result = env.stack.preview("--json")
    assert result.code == 0, result.text
    assert result.systems().keys() == {"web1", "web2"}
    assert all("-nixos-system-web" in path for path in result.systems().values())
    # The volume, for whose its name is.
    assert sorted(env.proxy.requests()) == env.listing_requests[1:]
    assert (env.instances(), env.images()) == ({}, {})


def test_a_program_failure_during_the_listing_is_one_message(env: IncusEnvironment) -> None:
    """Without the shield, the listing was cancelled and the SDK printed its traceback."""
    env.stack.write(appRef="v9.9")
    fault = env.proxy.delay(LISTING.replace("?", r"\?"), 4.0)
    result = env.stack.preview()
    assert fault.triggered.is_set()
    assert result.code != 0
    assert "v9.9" in result.text
    assert "Traceback" not in result.text
    assert "unhandled" not in result.text


def test_an_up_interrupted_at_each_step_is_continued(env: IncusEnvironment) -> None:
    env.stack.write(appRef="v1")
    named = env.stack.preview("--json").systems()
    env.interrupt("POST /1.0/images", signal.SIGKILL)
    assert env.images() == {}
    env.interrupt(r"POST /1.0/instances\?", signal.SIGKILL)
    env.interrupt(f"PUT /1.0/instances/{PREFIX}-web./state", signal.SIGINT)
    env.interrupt(f"POST /1.0/instances/{PREFIX}-web./exec", signal.SIGKILL)
    assert len(env.images()) == 1
    env.up()
    assert systems(env.hosts()) == named, "as in the preview"
    expect_deployed(env)


def test_a_daemon_outage_at_each_step_is_waited_out(
    env: IncusEnvironment,
) -> None:
    gone = env.stack.pulumi("destroy", "--yes", "--skip-preview")
    assert gone.code == 0, gone.text
    assert (env.instances(), env.images(), env.volumes()) == ({}, {}, [])
    env.proxy.reset()
    faults = [
        env.proxy.disconnect("POST /1.0/images", when="middle"),
        env.proxy.disconnect(r"POST /1.0/instances\?", when="after"),
        env.proxy.disconnect(f"PUT /1.0/instances/{PREFIX}-web1/state", when="after", seconds=2),
        env.proxy.disconnect(f"POST /1.0/instances/{PREFIX}-web2/exec", when="after", seconds=2),
        env.proxy.disconnect(f"PATCH /1.0/instances/{PREFIX}-web1", when="before", seconds=2),
    ]
    env.up()
    assert all(fault.triggered.is_set() for fault in faults)
    expect_deployed(env)


def test_destroy_deletes_only_resources_of_the_stack(env: IncusEnvironment, place: Path) -> None:
    incus, pool, mine = env.incus, env.pool, f"{PREFIX}-mine"
    (ours,) = env.images()
    incus.call("init", ours, mine)
    incus.call("profile", "create", mine)
    incus.call("storage", "volume", "create", pool, mine)
    incus.call("image", "import", str(empty_image(place / "mine.tar")), f"user.note={mine}")
    theirs = next(
        one for one, result in env.all_images().items() if result.get("user.note") == mine
    )
    try:
        kept = describe_foreign(env)
        gone = env.stack.pulumi("destroy", "--yes", "--skip-preview")
        assert gone.code == 0, gone.text
        assert gone.summary() == {"deleted": UNCHANGED["unchanged"]}
        assert env.instances().keys() == {"mine"}
        assert env.volumes() == [mine]
        assert describe_foreign(env) == kept
        assert theirs in env.all_images()
        # It is kept for the instance that another user created from it, without a reference.
        assert env.images() == {}
        assert ours in env.all_images()
    finally:
        incus.call("delete", "--force", mine)
        incus.call("profile", "delete", mine)
        incus.call("storage", "volume", "delete", pool, mine)
        incus.call("image", "delete", theirs)
        incus.attempt("image", "delete", ours)


def describe_foreign(env: IncusEnvironment) -> list[str]:
    mine, call = f"{PREFIX}-mine", env.incus.call
    return [
        call("config", "show", mine),
        call("profile", "show", mine),
        call("storage", "volume", "show", env.pool, mine),
    ]


def empty_image(file: Path) -> Path:
    """A unified image with an empty root."""
    text = b"architecture: x86_64\ncreation_date: 1\nproperties: {os: nothing}\n"
    with tarfile.open(file, "w") as archive:
        member = tarfile.TarInfo("metadata.yaml")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
        root = tarfile.TarInfo("rootfs")
        root.type = tarfile.DIRTYPE
        archive.addfile(root)
    return file
