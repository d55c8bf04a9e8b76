"""The first deployment of a stack in Incus, cut off in every way; and its end."""

import io
import signal
import tarfile
from pathlib import Path

import pytest

from tests.e2e.incus_stack import LISTING, OWNER, PREFIX, UNCHANGED, World, world
from tests.e2e.look import answers, profiles, serving, systems

__all__ = ["world"]
pytestmark = pytest.mark.e2e


def expect_deployed(world: World) -> None:
    """Each host is there once, on v1, as the state has it; and so is the image."""
    hosts = world.hosts()
    assert answers(hosts) == serving("v1", *hosts)
    assert systems(hosts) == profiles(hosts) == world.stack.recorded()
    assert world.instances().keys() == {"web1", "web2"}
    assert {row["config"]["user.flakeup.owner"] for row in world.instances().values()} == {OWNER}
    assert len(world.images()) == 1
    world.expect_no_change()


def test_a_preview_asks_once_and_makes_nothing(world: World) -> None:
    world.stack.write(appRef="v1")
    said = world.stack.preview("--json")
    assert said.code == 0, said.text
    assert said.systems().keys() == {"web1", "web2"}
    assert all("-nixos-system-web" in path for path in said.systems().values())
    assert world.proxy.seen() == [f"{LISTING}&project={world.incus.project}"]
    assert (world.instances(), world.images()) == ({}, {})


def test_a_program_that_fails_while_incus_is_asked_is_one_message(world: World) -> None:
    """Seen: the question was ended with it, and the SDK showed where."""
    world.stack.write(appRef="v9.9")
    trouble = world.proxy.slow(LISTING.replace("?", r"\?"), 4.0)
    said = world.stack.preview()
    assert trouble.met.is_set()
    assert said.code != 0
    assert "v9.9" in said.text
    assert "Traceback" not in said.text
    assert "unhandled" not in said.text


def test_an_up_that_is_cut_off_at_each_step_is_gone_on_with(world: World) -> None:
    world.stack.write(appRef="v1")
    named = world.stack.preview("--json").systems()
    world.interrupt("POST /1.0/images", signal.SIGKILL, 5.0)
    assert world.images() == {}
    world.interrupt(r"POST /1.0/instances\?", signal.SIGKILL)
    world.interrupt(f"PUT /1.0/instances/{PREFIX}-web./state", signal.SIGINT)
    world.interrupt(f"POST /1.0/instances/{PREFIX}-web./exec", signal.SIGKILL)
    assert len(world.images()) == 1
    world.up()
    assert systems(world.hosts()) == named, "what the preview had named"
    expect_deployed(world)


def test_a_daemon_that_is_away_for_a_while_at_each_step_is_waited_for(world: World) -> None:
    gone = world.stack.pulumi("destroy", "--yes", "--skip-preview")
    assert gone.code == 0, gone.text
    assert (world.instances(), world.images(), world.volumes()) == ({}, {}, [])
    world.proxy.forget()
    troubles = [
        world.proxy.away("POST /1.0/images", when="middle"),
        world.proxy.away(r"POST /1.0/instances\?", when="after"),
        world.proxy.away(f"PUT /1.0/instances/{PREFIX}-web1/state", when="after", seconds=2),
        world.proxy.away(f"POST /1.0/instances/{PREFIX}-web2/exec", when="after", seconds=2),
        world.proxy.away(f"PATCH /1.0/instances/{PREFIX}-web1", when="before", seconds=2),
    ]
    world.up()
    assert all(trouble.met.is_set() for trouble in troubles)
    expect_deployed(world)


def test_destroy_removes_what_was_made_and_nothing_of_others(world: World, place: Path) -> None:
    incus, pool, mine = world.incus, world.pool, f"{PREFIX}-mine"
    (ours,) = world.images()
    incus.call("init", ours, mine)
    incus.call("profile", "create", mine)
    incus.call("storage", "volume", "create", pool, mine)
    incus.call("image", "import", str(unified(place / "mine.tar")), f"user.note={mine}")
    theirs = next(one for one, said in world.all_images().items() if said.get("user.note") == mine)
    try:
        kept = planted(world)
        gone = world.stack.pulumi("destroy", "--yes", "--skip-preview")
        assert gone.code == 0, gone.text
        assert gone.summary() == {"deleted": UNCHANGED["unchanged"]}
        assert world.instances().keys() == {"mine"}
        assert world.volumes() == [mine]
        assert planted(world) == kept
        assert theirs in world.all_images()
        # It stays for the instance that somebody has made from it, and belongs to no stack.
        assert world.images() == {}
        assert ours in world.all_images()
    finally:
        incus.call("delete", "--force", mine)
        incus.call("profile", "delete", mine)
        incus.call("storage", "volume", "delete", pool, mine)
        incus.call("image", "delete", theirs)
        incus.attempt("image", "delete", ours)


def planted(world: World) -> list[str]:
    mine, call = f"{PREFIX}-mine", world.incus.call
    return [
        call("config", "show", mine),
        call("profile", "show", mine),
        call("storage", "volume", "show", world.pool, mine),
    ]


def unified(file: Path) -> Path:
    """An image with nothing in it."""
    text = b"architecture: x86_64\ncreation_date: 1\nproperties: {os: nothing}\n"
    with tarfile.open(file, "w") as archive:
        member = tarfile.TarInfo("metadata.yaml")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
        root = tarfile.TarInfo("rootfs")
        root.type = tarfile.DIRTYPE
        archive.addfile(root)
    return file
